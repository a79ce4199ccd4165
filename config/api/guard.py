"""A problem document for what fails where Django's own handling does not reach.

That is before its middleware and after it: a receiver of ``request_started``, an environ
that makes no request, a handler of errors that has one itself.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from config.api import problems
from config.api.region import serving_region
from config.dsql.endpoints import peer_region
from config.telemetry.middleware import measure_outside

logger = logging.getLogger(__name__)
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


def dress(response: HttpResponseBase) -> None:
    """What every response carries: the Regions that served it, and security headers."""
    response["X-Served-By-Region"] = serving_region()
    if elsewhere := peer_region():
        response["X-Database-Region"] = elsewhere
    for name, value in HEADERS.items():
        response.setdefault(name, value)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the error, which may be the database's state."""
    error = sys.exc_info()[1] or Exception()
    response = problems.respond(problems.problem_from_database_error(error))
    dress(response)  # it may be the middleware that failed
    return response


def guarded(application: Application) -> Application:
    @wraps(application)
    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        try:
            return application(environ, start_response)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged there
            response = respond_to_failure(error, environ)
            status = f"{response.status_code} {response.reason_phrase}"
            start_response(status, list(response.items()), sys.exc_info())
            return response

    return respond


def respond_to_failure(error: Exception, meta: Mapping[str, Any]) -> HttpResponse:
    """A problem document, the cause in the log, and the request's own line if it has none.

    ``meta`` is the request's WSGI environment, or as much of it as exists.
    """

    def respond() -> HttpResponse:
        if problems.is_database_state(error):
            response = problems.respond_unavailable(error)
        else:
            logger.error("A request failed outside of its handling", exc_info=error)
            response = problems.respond(problems.problem_from_database_error(error))
        dress(response)
        return response

    return measure_outside(meta, respond)
