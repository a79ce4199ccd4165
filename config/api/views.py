"""What every view shares, and the views that belong to no app."""

import codecs
import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import IO, Any, ClassVar, NoReturn

from django.conf import settings
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView

from config.api import access, inputs, problems, rate_limits
from config.api.inputs import WITH_BODY
from config.api.parameters import Parser
from config.api.region import serving_region
from config.api.responses import empty_response, json_response

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def load_object(content: bytes, *, what: str = "body") -> dict[str, Any]:
    """A JSON object; what PostgreSQL or JSON cannot hold is refused. Raises ParseError."""
    try:
        # Some editors begin a file with a byte order mark (RFC 8259, section 8.1).
        text = codecs.decode(content, "utf-8-sig")
        data = DECODER.decode(text)
        if SURROGATE.search(text):  # a lone one can only be written so
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeError:
        raise exceptions.ParseError(f"The {what} is not valid UTF-8.") from None
    except RecursionError:
        raise exceptions.ParseError(f"The {what} is nested too deeply.") from None
    except ValueError:
        raise exceptions.ParseError(f"The {what} is not valid JSON.") from None
    if not isinstance(data, dict):
        raise exceptions.ParseError(f"The {what} must be a JSON object.")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two equal names is meant, readers decide differently (RFC 8259, section 4)."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise exceptions.ParseError("An object has a member twice.")
    return found


# json.loads() would make one for every body, which takes as long as to read it.
DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_distinct)


MAX_CONTENT_TYPE = 255


def read_body(stream: IO[bytes], context: Any) -> bytes:
    """All that Content-Length announces. Raises ParseError when less comes."""
    announced = int(context["request"].META["CONTENT_LENGTH"])
    try:
        content = stream.read()
    except UnreadablePostError:
        content = b""
    if len(content) < announced:
        raise exceptions.ParseError(
            f"Content-Length announces {announced} bytes; fewer came."
        )
    return content


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> dict[str, Any]:
        return load_object(read_body(stream, parser_context))


class NDJSONParser(BaseParser):
    """One JSON object a line; the lines are judged one by one later, blank ones passed."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> Any:
        return read_body(stream, parser_context).split(b"\n")


class MergePatchParser(StrictJSONParser):
    """RFC 7396; only PATCH means it."""

    media_type = "application/merge-patch+json"
    methods = ("PATCH",)


class ByContentType(BaseContentNegotiation):
    """The parser is the body's; answers are JSON whatever is asked."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        content_type = request.content_type or ""
        if len(content_type) > MAX_CONTENT_TYPE:
            raise exceptions.UnsupportedMediaType(
                "", detail=f"Content-Type is longer than {MAX_CONTENT_TYPE} characters."
            )
        media_type, _, rest = content_type.partition(";")
        offered = media_type.strip().lower()
        if rest and not _is_utf8(rest):
            raise exceptions.UnsupportedMediaType(
                media_type, detail="The charset is not honoured: send UTF-8."
            )
        for parser in parsers:
            methods = getattr(parser, "methods", (request.method,))
            if parser.media_type == offered and request.method in methods:
                return parser  # type: ignore[no-any-return]  # parsers is Any
        return None


def _is_utf8(parameters: str) -> bool:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        named = value.strip().strip('"').lower()
        if name.strip().lower() == "charset" and named not in {"utf-8", "us-ascii"}:
            return False
    return True


class JSONView(APIView):
    """``scopes`` maps each method to what the caller's token must allow."""

    scopes: ClassVar[Mapping[str, str]] = {}
    parser_classes = [StrictJSONParser]
    content_negotiation_class = ByContentType
    authentication_classes = [access.Bearer]
    permission_classes = [access.HasScope]
    max_body_bytes = 64 * 1024
    # What each method honours; anything else that a request carries is refused:
    query: ClassVar[Mapping[str, Mapping[str, Parser]]] = {}
    key_methods: ClassVar[tuple[str, ...]] = ()  # Idempotency-Key
    conditional_methods: ClassVar[tuple[str, ...]] = ()  # If-Match, If-None-Match
    taken: rate_limits.Taken | None = None

    def perform_authentication(self, request: Request) -> None:
        """Whoever is not let in is limited by address, so that guesses are few."""
        try:
            super().perform_authentication(request)
        except problems.Problem as problem:
            if problem.code == "unauthenticated":
                self._take(_address(request))
            raise

    def check_throttles(self, request: Request) -> None:
        caller = access.get_caller(request).id
        self._take(f"caller {caller}" if caller else _address(request))

    def _take(self, bucket: str) -> None:
        """Raises Problem 429."""
        if not settings.API_RATE_LIMIT:
            return
        self.taken = rate_limits.BUCKETS.take(bucket, settings.API_RATE_LIMIT)
        if self.taken.wait:
            raise problems.Problem(
                "rate_limited",
                f"More than {self.taken.limit} requests in a minute; slow down.",
                headers={"Retry-After": str(self.taken.wait)},
            )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who, how often, may they, what; no versions, and no choice of renderers."""
        if request.method == "OPTIONS":  # what may be asked here is no secret
            names = {name for taken in self.query.values() for name in taken}
            self._check_honoured(request, names, takes_key=True, takes_conditions=True)
            return
        self.perform_authentication(request)
        self.check_throttles(request)
        self.check_permissions(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in self.scopes:
            return  # it will be answered 405
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
        """Without one DRF asks no parser and takes it for an empty form."""
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
        return self.taken.headers if self.taken else {}

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
        """Django answers, as for any other view."""
        raise exc

    def get_exception_handler(self) -> Any:
        return problems.handle


def _address(request: Request) -> str:
    return f"address {rate_limits.client_network(request.META.get('REMOTE_ADDR', ''))}"


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
