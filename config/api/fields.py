"""What a client may send in a body, checked more strictly than DRF's fields do."""

import re
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from rest_framework import serializers

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
CONTROLS = "Must be without control characters."


class Text(serializers.CharField):
    """A JSON string without white space around it: DRF's field would make one of a number.

    ``find_fault`` says why a text is refused, or "". It comes before DRF's validators,
    which all run: what is too long is refused for that alone, and no check that takes its
    time sees it.
    """

    def __init__(self, find_fault: Callable[[str], str], **options: Any) -> None:
        super().__init__(**options)
        self.find_fault = find_fault

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = data.strip()
        fault = self.find_fault(text)
        # Python takes some control characters around the text for white space.
        if not fault and len(text) < len(data) and CONTROL.search(data):
            fault = CONTROLS
        if fault:
            raise serializers.ValidationError(fault)
        return text


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses members that it does not know."""

    in_responses: ClassVar[Collection[str]] = ()  # which of these are read-only

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if unknown := sorted(set(data) - set(self.fields)):
            raise serializers.ValidationError(
                {
                    name: [
                        f"{'Read-only' if name in self.in_responses else 'Unknown'}; remove it."
                    ]
                    for name in unknown
                }
            )
        return values
