"""What every response carries, and what every request must respect."""

from collections.abc import Callable
from typing import Any

from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)

from config.api import guard, hosts, inputs, problems

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
        if request.method == "HEAD" and isinstance(response, StreamingHttpResponse):
            response.streaming_content = ()  # what would make it does not begin
        guard.dress(response)
        # django-cors-headers responds to a preflight with HTML of no length.
        if request.method == "OPTIONS" and response.get("Content-Length") == "0":
            del response["Content-Type"]
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Refuse a body that the view does not take, before it is read."""
        try:
            inputs.check_body(request, getattr(view, "cls", None))
        except problems.Problem as problem:
            return problems.respond(problem)
        return None

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        """A database that cannot be reached is the service's state, not a bug."""
        if not problems.is_database_state(error):
            return None
        return problems.respond_unavailable(error)
