"""What every view shares, and the views that belong to no app."""

import codecs
import json
import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import IO, Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api import access, limits, problems


def region() -> str:
    """The Region that serves: Lambda sets AWS_REGION."""
    return os.environ.get("AWS_REGION", "")


def load_object(content: bytes) -> dict[str, Any]:
    """A JSON object; what PostgreSQL or JSON cannot hold is refused. Raises ParseError."""
    try:
        text = codecs.decode(content, "utf-8")
        data = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeError:
        raise exceptions.ParseError("The body is not valid UTF-8.") from None
    except RecursionError:
        raise exceptions.ParseError("The body is nested too deeply.") from None
    except ValueError:
        raise exceptions.ParseError("The body is not valid JSON.") from None
    if not isinstance(data, dict):
        raise exceptions.ParseError("The body must be a JSON object.")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> dict[str, Any]:
        return load_object(stream.read())


class NDJSONParser(BaseParser):
    """One JSON object a line; the lines are judged one by one later."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> Any:
        return [line for line in stream.read().split(b"\n") if line.strip()]


class MergePatchParser(StrictJSONParser):
    """RFC 7396; only PATCH means it."""

    media_type = "application/merge-patch+json"
    methods = ("PATCH",)


class OneRenderer(BaseContentNegotiation):
    """Always the first renderer: the API speaks JSON whatever is asked."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        offered = (request.content_type or "").partition(";")[0].strip().lower()
        for parser in parsers:
            methods = getattr(parser, "methods", (request.method,))
            if parser.media_type == offered and request.method in methods:
                return parser  # type: ignore[no-any-return]  # parsers is Any
        return None

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: Any = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class JSONView(APIView):
    """``scopes`` maps each method to what the caller's token must allow."""

    scopes: ClassVar[Mapping[str, str]] = {}
    renderer_classes = [JSONRenderer]
    parser_classes = [StrictJSONParser]
    content_negotiation_class = OneRenderer
    authentication_classes = [access.Bearer]
    permission_classes = [access.HasScope]
    max_body_bytes = 64 * 1024
    taken: limits.Taken | None = None

    def check_throttles(self, request: Request) -> None:
        if not settings.API_RATE_LIMIT:
            return
        caller = access.caller_of(request).id or request.META.get("REMOTE_ADDR", "")
        self.taken = limits.BUCKETS.take(caller, settings.API_RATE_LIMIT)
        if self.taken.wait:
            raise problems.Problem(
                "rate_limited",
                f"More than {self.taken.limit} requests in a minute; slow down.",
                headers={"Retry-After": str(self.taken.wait)},
            )

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        for name, value in (self.taken.headers if self.taken else {}).items():
            response[name] = value
        return super().finalize_response(request, response, *args, **kwargs)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(status=204, headers={"Allow": ", ".join(self.allowed_methods)})

    def get_exception_handler(self) -> Any:
        return problems.handle


def safe(view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """GET and HEAD only, for views that are not DRF's."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if request.method in {"GET", "HEAD"}:
            return view(request)
        return answer(
            problems.Problem(
                "method_not_allowed",
                f'Method "{request.method}" not allowed.',
                headers={"Allow": "GET, HEAD"},
            )
        )

    return guarded


def answer(problem: problems.Problem) -> HttpResponse:
    """A problem outside of DRF's views."""
    return JsonResponse(
        problems.body(problem),
        status=problem.status_code,
        headers=problem.headers,
        content_type=problems.MEDIA_TYPE,
    )


@safe
def live(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok", "region": region()})


def problem_view(code: str, detail: str) -> Any:
    def view(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        return answer(problems.Problem(code, detail))

    return view


bad_request = problem_view("malformed", "The request is malformed.")
not_found = problem_view("not_found", "Nothing is served at this path.")
server_error = problem_view("internal_error", "The request failed; it was logged.")
