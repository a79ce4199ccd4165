"""What Lambda hands over: API Gateway's requests go to Django, maintenance is on a list.

Everything that a request needs is made while the function starts: init has a whole
processor, a request only the share that its memory buys (Lambda developer guide, "Lambda
execution environment").
"""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from config.wsgi import application  # sets Django up

# isort: split
from django.db import Error, connection
from django.http import HttpResponse
from django.urls import get_resolver, set_script_prefix

from config.api import problems
from config.api.guard import dress, respond_to_failure
from config.dsql.deadlines import STEP, time_left, within
from config.on_lambda import invocations, wiring
from config.on_lambda.events import Event, build_environ, build_response
from config.on_lambda.wiring import Wiring
from config.telemetry.middleware import measure_outside

logger = logging.getLogger(__name__)
# Lambda kills an init that takes ten seconds and repeats it inside the first request,
# which API Gateway gives 29 in all; a request may use 25 of them for the database.
# Silence is noticed a step late, once for each endpoint: two seconds at the most.
START_SECONDS = 2.0 - 2 * STEP


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """What Lambda calls with each event; see zappa_settings.json.

    Raises InvocationRefused for an invocation that is neither HTTP nor maintenance.
    """
    if isinstance(event, Mapping):
        if wiring.is_served(event):
            return _serve(event, context)
        if found := wiring.find_foreign_wiring(event):
            return _refuse(event, context, found)
    return invocations.run(event, context)


def _serve(event: Event, context: Any) -> dict[str, Any]:
    set_script_prefix("/")  # until Django has read this request's own mount
    environ: dict[str, Any] = _minimal_environ(event, context)
    started: list[Any] = []
    try:
        environ = build_environ(event, context)
        response = application(environ, lambda *line: started.append(line))
        try:
            body = b"".join(response)
        finally:
            response.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is logged there
        return _respond(respond_to_failure(error, environ))
    status, headers, *_ = started[-1]
    built: dict[str, Any] = build_response(int(status[:3]), headers, body)
    return built


def _refuse(event: Event, context: Any, found: Wiring) -> dict[str, Any]:
    """501, and one line in the log that names the wiring."""

    def respond() -> HttpResponse:
        logger.error(
            "Refused a request of %s: only REST APIs of API Gateway, and HTTP APIs with "
            "payload format 1.0, are served.",
            found.name,
        )
        detail = f"This API is not served through {found.name}; nothing was done."
        response = problems.respond(problems.Problem("unsupported_wiring", detail))
        dress(response)
        return response

    set_script_prefix("/")  # not the mount of the request before this one
    response = measure_outside(_minimal_environ(event, context), respond)
    return found.build_response(event, response)


def _respond(response: HttpResponse) -> dict[str, Any]:
    built: dict[str, Any] = build_response(
        response.status_code, list(response.items()), response.content
    )
    return built


def _minimal_environ(event: Event, context: Any) -> dict[str, Any]:
    """Enough for a log line, of an event that may be anything."""
    return {"REQUEST_METHOD": event.get("httpMethod"), "lambda.context": context}


def import_views() -> None:
    get_resolver().url_patterns  # noqa: B018 - the property imports the views


def prepare() -> None:
    """Import every view and open the connection, in little time and without an error.

    What is found out stays: with the local endpoint silent the connection goes to the
    peer's, and so does the next one. What fails is tried again by the first request,
    which can tell its caller; an error here would only end the process.
    """
    started = time.monotonic()
    try:
        with within(START_SECONDS):
            import_views()
            # Half of what is left for each endpoint, names and addresses included.
            with within(math.inf, step=time_left() / 2):
                connection.ensure_connection()
    except Exception as error:
        logger.warning(
            "Start-up ended after %.2f s without a connection; the first request tries "
            "again: %s",
            time.monotonic() - started, error,
            exc_info=not isinstance(error, Error),
        )  # fmt: skip
    else:
        logger.info(
            "Start-up was done in %.2f s; connected to %s",
            time.monotonic() - started, connection.connection.info.host,
        )  # fmt: skip
