"""Migrations run as ``admin``: the role that serves may not change the schema."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import connections


def require_admin(*, using: str, plan: Sequence[Any], **_: Any) -> None:
    """Receiver of ``pre_migrate``. Raises CommandError when there is work it may not do."""
    user = connections[using].settings_dict["USER"] or "admin"
    if plan and user != "admin":
        raise CommandError(
            f"The database role {user} may not change the schema; run `manage.py dsql_database` "
            f"with an operator's credentials instead."
        )
