"""What a client may send, field by field."""

from typing import Any

from rest_framework import serializers

from users import emails, names
from users.selectors import FIELDS


class Text(serializers.CharField):
    """A JSON string: DRF's field would make one of a number.

    It is judged before DRF's validators, which all run: what is too long is refused for
    that alone, and no check that takes its time sees it.
    """

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = data.strip()
        found = self.fault(text)
        # Python takes some control characters around the text for white space.
        if not found and len(text) < len(data) and names.CONTROL.search(data):
            found = names.CONTROLS
        if found:
            raise serializers.ValidationError(found)
        return text

    def fault(self, text: str) -> str:
        """Why the trimmed text is refused, or ""."""
        raise NotImplementedError


class Name(Text):
    def fault(self, text: str) -> str:
        return names.fault(text)


class Email(Text):
    def fault(self, text: str) -> str:
        return emails.fault(text)


class UserInput(serializers.Serializer[Any]):
    """A user as POST and PUT take it; PATCH takes any part of it."""

    name = Name(max_length=names.MAX_NAME)
    email = Email(max_length=emails.MAX_ADDRESS)

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        unknown = sorted(set(data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError(
                {
                    name: [
                        f"{'Read-only' if name in FIELDS else 'Unknown'}; remove it."
                    ]
                    for name in unknown
                }
            )
        return values


# Made once: a form copies its fields, which costs more than to check them.
WHOLE, PART = UserInput(), UserInput(partial=True)


def validated(data: Any, *, partial: bool = False) -> dict[str, Any]:
    """The values to store. Raises DRF's ValidationError naming each refused field."""
    return dict((PART if partial else WHOLE).run_validation(data))
