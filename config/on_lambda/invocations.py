"""Invocations that are no HTTP requests: an allow-list of maintenance, and nothing else.

Whoever may invoke the function may not thereby run code as it: no commands, no management
commands, no handlers of events.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.db import close_old_connections

from config.api import idempotency
from config.api.failures import describe_cause
from config.dsql.deadlines import within
from config.telemetry.measures import Measures
from config.telemetry.middleware import measured

logger = logging.getLogger(__name__)
SPARE_SECONDS = 3.0  # of the function's time: to end, and to say what was done
# The management commands that a refusal may name: anything else that was sent may be secret.
COMMANDS = {
    "check", "dbshell", "delete_expired_responses", "diffsettings", "dsql_database",
    "dsql_status", "dumpdata", "flush", "inspectdb", "loaddata", "seed_users", "shell",
    "showmigrations", "sqlmigrate",
}  # fmt: skip
TASKS: Mapping[str, Callable[[], int]] = {
    "delete_expired_responses": idempotency.delete_expired,
}
ALLOWED = " or ".join(f'{{"maintenance": "{name}"}}' for name in TASKS)
# What Zappa's own handler would run, by the member that asks for it.
REFUSED = {
    "manage": "a management command",
    "command": "a function's name",
    "raw_command": "code",
    "Records": "records of another service",
    "detail-type": "a scheduled or other event",
}


class InvocationRefused(Exception):
    """Nothing was run; says what to use instead."""


class MaintenanceFailed(Exception):
    """Lambda repeats what was invoked asynchronously, and counts an error."""


def run(event: Any, context: Any) -> dict[str, Any]:
    """Do the maintenance that the event names.

    Raises InvocationRefused and MaintenanceFailed.
    """
    with measured(Measures(str(getattr(context, "aws_request_id", "")))):
        name = event.get("maintenance") if isinstance(event, Mapping) else None
        if not isinstance(name, str) or name not in TASKS or len(event) != 1:
            refusal = _describe_refusal(event)
            logger.error("%s", refusal)
            raise InvocationRefused(refusal)
        deleted = _maintain(name, context.get_remaining_time_in_millis() / 1000)
        logger.info("%s: %d deleted", name, deleted)
        return {"maintenance": name, "deleted": deleted}


def _maintain(name: str, seconds: float) -> int:
    close_old_connections()
    try:
        with within(seconds - SPARE_SECONDS):
            return TASKS[name]()
    except Exception as error:
        logger.exception("%s failed", name)
        # Lambda writes what is raised into the log as well, unmasked.
        raise MaintenanceFailed(f"{name} failed: {describe_cause(error)}") from None
    finally:
        close_old_connections()


def _describe_refusal(event: Any) -> str:
    """One sentence for the log and for the caller, without anything that was sent."""
    members = event if isinstance(event, Mapping) else {}
    what = next((said for name, said in REFUSED.items() if name in members), "an event")
    return (
        f"The function was invoked with {what}, and runs none: nothing was done. Use "
        f"`{_name_command(members)}` where you deploy from; the function itself takes "
        f"{ALLOWED}."
    )


def _name_command(members: Mapping[str, Any]) -> str:
    """The command that does the same from outside."""
    wanted = members.get("manage")
    name = wanted.split(" ", 1)[0] if isinstance(wanted, str) else ""
    if name == "migrate":
        return "manage.py dsql_database --target aws"
    return f"manage.py {name if name in COMMANDS else 'COMMAND'} --target aws"
