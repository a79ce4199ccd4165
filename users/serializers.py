"""What a client may send, field by field."""

from typing import Any

from rest_framework import serializers

from users.selectors import FIELDS


class UserInput(serializers.Serializer[Any]):
    """A user as POST and PUT take it; PATCH takes any part of it."""

    name = serializers.CharField(max_length=100)
    email = serializers.EmailField(max_length=254)

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
