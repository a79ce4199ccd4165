"""Statements of the default database that fail before they are sent."""

from typing import Any

import pytest
from django.db import connections


def fail_statements(
    monkeypatch: pytest.MonkeyPatch, *errors: Exception, verb: str = ""
) -> list[Exception]:
    """From now on each statement of that verb ends with the next error; the last stays.

    The errors that were raised are in the list returned.
    """
    raised: list[Exception] = []

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if not sql.startswith(verb):
            return execute(sql, *args)
        raised.append(errors[min(len(raised), len(errors) - 1)])
        raise raised[-1]

    monkeypatch.setattr(connections["default"], "execute_wrappers", [fail])
    return raised
