"""What every answer carries, and what every request must respect."""

import logging
import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from config.api import hosts, problems
from config.api.views import region
from config.dsql.endpoints import peer_region

logger = logging.getLogger(__name__)
DIGITS = re.compile(r"[0-9]{1,10}")
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
GetResponse = Callable[[HttpRequest], HttpResponseBase]


def _host_refused() -> problems.Problem:
    return problems.Problem(
        "host_not_allowed",
        "The Host header is missing, or names a host that this API does not serve.",
    )


class APIMiddleware:
    """Host and size limit before reading, the serving Region and security headers after."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if hosts.is_allowed(request.META):
            response = self.get_response(request)
        else:
            response = problems.respond(_host_refused())
        response["X-Served-By-Region"] = region()
        if elsewhere := peer_region():
            response["X-Database-Region"] = elsewhere
        for name, value in HEADERS.items():
            response.setdefault(name, value)
        # To a preflight django-cors-headers answers with HTML of no length.
        if request.method == "OPTIONS" and response.get("Content-Length") == "0":
            del response["Content-Type"]
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Refuse a body that is larger than the view takes, before it is read."""
        most = getattr(getattr(view, "cls", None), "max_body_bytes", None)
        if most is None:
            return None  # a view that reads no body
        length = request.META.get("CONTENT_LENGTH") or "0"
        # What else str.isdigit() takes, int() may not; so many digits are too many.
        if DIGITS.fullmatch(length) and int(length) <= most:
            return None
        return problems.respond(
            problems.Problem("too_large", f"The body is larger than {most} bytes.")
        )

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        """A database that cannot be reached is the service's state, not a bug."""
        if not problems.is_known(error):
            return None
        logger.error("The database cannot serve", exc_info=error)
        return problems.respond(problems.of_database(error))
