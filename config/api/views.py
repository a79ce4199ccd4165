"""What every view shares, and the views that belong to no app."""

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from config.api import access, inputs, problems, rate_limits
from config.api.inputs import WITH_BODY
from config.api.parameters import Parser
from config.api.parsers import MAX_BODY_BYTES, ByContentType, StrictJSONParser
from config.api.region import serving_region
from config.api.responses import empty_response, json_response


class JSONView(APIView):
    """``scopes`` maps each method to what the caller's token must allow."""

    scopes: ClassVar[Mapping[str, str]] = {}
    parser_classes = [StrictJSONParser]
    content_negotiation_class = ByContentType
    authentication_classes = [access.Bearer]
    permission_classes = [access.HasScope]
    max_body_bytes = MAX_BODY_BYTES
    # What each method honours; anything else that a request carries is refused:
    query: ClassVar[Mapping[str, Mapping[str, Parser]]] = {}
    key_methods: ClassVar[tuple[str, ...]] = ()  # Idempotency-Key
    conditional_methods: ClassVar[tuple[str, ...]] = ()  # If-Match, If-None-Match
    allowance: rate_limits.Allowance | None = None  # what the caller has left

    def perform_authentication(self, request: Request) -> None:
        """Unauthenticated requests are limited by address, so that guesses are few."""
        try:
            super().perform_authentication(request)
        except problems.Problem as problem:
            if problem.code == "unauthenticated":
                self._limit_rate(request, "")
            raise

    def check_throttles(self, request: Request) -> None:
        self._limit_rate(request, access.get_caller(request).id)

    def _limit_rate(self, request: Request, caller: str) -> None:
        """Raises Problem 429."""
        if not settings.API_RATE_LIMIT:
            return
        address = request.META.get("REMOTE_ADDR", "")
        allowance = rate_limits.take(caller, address, settings.API_RATE_LIMIT)
        self.allowance = allowance
        if allowance.wait:
            raise problems.Problem(
                "rate_limited",
                f"More than {allowance.limit} requests in a minute; slow down.",
                headers={"Retry-After": str(allowance.wait)},
            )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, limit, authorize, check; no versions and no choice of renderers."""
        if request.method == "OPTIONS":  # what is honoured here is no secret
            names = {name for known in self.query.values() for name in known}
            self._check_honoured(request, names, takes_key=True, takes_conditions=True)
            return
        self.perform_authentication(request)
        self.check_throttles(request)
        self.check_permissions(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in self.scopes:
            return  # the response will be 405
        self._check_honoured(
            request,
            self.query.get(method, ()),
            takes_key=method in self.key_methods,
            takes_conditions=method in self.conditional_methods,
        )
        if method in WITH_BODY and not self.body_sent(request):
            raise exceptions.ParseError("The body is empty; send what the change is.")

    def _check_honoured(
        self, request: Request, query: Collection[str], **takes: bool
    ) -> None:
        inputs.check_honoured(request._request, query, **takes)  # noqa: SLF001 - DRF's name for Django's request

    @staticmethod
    def body_sent(request: Request) -> bool:
        """Without one DRF calls no parser and takes it for an empty form."""
        length = request.META.get("CONTENT_LENGTH") or ""
        return length.strip("0") != ""

    def accepted(self, method: str) -> str:
        """The media types of bodies that the method takes, as a header says it."""
        return ", ".join(
            parser.media_type
            for parser in self.parser_classes
            if method in getattr(parser, "methods", WITH_BODY)
        )

    @property
    def default_response_headers(self) -> dict[str, str]:
        return self.allowance.headers if self.allowance else {}

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        for name, value in self.default_response_headers.items():
            response[name] = value
        return response

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        headers = {"Allow": ", ".join(self.allowed_methods)}
        if "PATCH" in self.allowed_methods:
            headers["Accept-Patch"] = self.accepted("PATCH")  # RFC 5789, section 3.1
        return empty_response(204, headers)

    def raise_uncaught_exception(self, exc: Exception) -> NoReturn:
        """Django responds, as for any other view."""
        raise exc

    def get_exception_handler(self) -> Any:
        return problems.handle


def safe(view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """GET and HEAD only, for views that are not DRF's."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if request.method in {"GET", "HEAD"}:
            try:
                inputs.check_honoured(request, ())
                return view(request)
            except problems.Problem as problem:
                return problems.respond(problem)
        return problems.respond(
            problems.Problem(
                "method_not_allowed",
                f'Method "{request.method}" not allowed.',
                headers={"Allow": "GET, HEAD"},
            )
        )

    return guarded


@safe
def live(request: HttpRequest) -> HttpResponse:
    return json_response({"status": "ok", "region": serving_region()})


def problem_view(code: str, detail: str) -> Any:
    def view(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        return problems.respond(problems.Problem(code, detail))

    return view


bad_request = problem_view("malformed", "The request is malformed.")
not_found = problem_view("not_found", "Nothing is served at this path.")
forbidden = problem_view("insufficient_scope", "The request is not allowed.")
