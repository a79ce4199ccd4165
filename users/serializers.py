"""What a client may send, field by field."""

from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from users.selectors import FIELDS

CONTROL = r"\x00-\x1f\x7f-\x9f"
# What is left when the spaces around a name are gone.
NAME = RegexValidator(
    f"^[^{CONTROL}]*[^{CONTROL}\\s][^{CONTROL}]*$",
    "Must be without control characters.",
)


class Text(serializers.CharField):
    """A JSON string: DRF's field would make one of a number."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Email(Text, serializers.EmailField):
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        # What is one letter in two cases, Python, DNS and the database's index see differently.
        if not text.isascii():
            raise serializers.ValidationError(
                "Write the domain in ASCII (xn--…), as DNS has it."
            )
        return text


class UserInput(serializers.Serializer[Any]):
    """A user as POST and PUT take it; PATCH takes any part of it."""

    name = Text(max_length=100, validators=[NAME])
    email = Email(max_length=254)

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
