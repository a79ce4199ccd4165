"""What a client may send, field by field."""

from typing import Any

from config.api.fields import StrictSerializer, Text
from users import emails, names
from users.selectors import FIELDS


class UserInput(StrictSerializer):
    """A user as POST and PUT take it; PATCH takes any part of it."""

    in_responses = FIELDS
    name = Text(names.find_fault, max_length=names.MAX_NAME)
    email = Text(emails.find_fault, max_length=emails.MAX_ADDRESS)


# Built once: a serializer copies its fields, which costs more than checking them.
WHOLE, PART = UserInput(), UserInput(partial=True)


def validate_user(data: Any, *, partial: bool = False) -> dict[str, Any]:
    """The values to store. Raises DRF's ValidationError naming each refused field."""
    return dict((PART if partial else WHOLE).run_validation(data))
