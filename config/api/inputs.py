"""What a request may carry: what would be ignored is refused before a view sees it.

A server joins headers that are sent more than once with commas, here and on Lambda alike
(RFC 9110, section 5.3), so a comma in one that has a single value reveals it.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from config.api.parameters import check_names
from config.api.problems import Problem

if TYPE_CHECKING:
    from config.api.views import JSONView

MAX_LENGTH_DIGITS = 15
UNHONOURED = {
    "HTTP_CONTENT_RANGE": "Content-Range is not honoured: send the whole body.",
    "HTTP_IF_UNMODIFIED_SINCE": "If-Unmodified-Since is not honoured: send If-Match with "
    "the ETag.",
    **{
        f"HTTP_{name.upper().replace('-', '_')}": f"{name} is not honoured: send the method "
        "itself."
        for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
    },
}
CONDITIONS = {"HTTP_IF_MATCH": "If-Match", "HTTP_IF_NONE_MATCH": "If-None-Match"}
WITH_BODY = ("POST", "PUT", "PATCH")
Meta = Mapping[str, Any]


def check_body(request: HttpRequest, view: "type[JSONView] | None") -> None:
    """How the body is framed, coded and typed, before it is read; its parser judges the rest.

    A page, for which there is no view class, reads none. Raises Problem.
    """
    meta = request.META
    _check_length(meta, view.max_body_bytes if view else None)
    if view is None or request.method not in WITH_BODY:
        return
    if meta.get("HTTP_TRANSFER_ENCODING") and not meta.get("CONTENT_LENGTH"):
        raise Problem("length_required", "Send the body's Content-Length.")
    coding = meta.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if coding not in {"", "identity"}:
        raise Problem(
            "unsupported_media_type",
            "Content-Encoding is not honoured: send the body as it is.",
            headers={"Accept-Encoding": "identity"},  # RFC 9110, section 15.5.16
        )
    if "," in meta.get("CONTENT_TYPE", ""):
        raise _repeated("Content-Type")
    credentials = meta.get("HTTP_AUTHORIZATION", "")
    if "," in credentials and credentials[:7].lower() == "bearer ":
        raise _repeated("Authorization")


def _check_length(meta: Meta, most: int | None) -> None:
    length = meta.get("CONTENT_LENGTH") or "0"
    # What else str.isdigit() takes, int() may not.
    if not (length.isascii() and length.isdigit()):
        raise Problem("malformed", "Content-Length must be one whole number.")
    digits = length.lstrip("0")
    if most is not None and (
        len(digits) > MAX_LENGTH_DIGITS or int(digits or 0) > most
    ):
        raise Problem("too_large", f"The body is larger than {most} bytes.")


def check_honoured(
    request: HttpRequest,
    query: Collection[str],
    *,
    takes_key: bool = False,
    takes_conditions: bool = False,
) -> None:
    """Refuse parameters and headers that the method of the view would ignore.

    Raises Problem.
    """
    meta = request.META
    for name in UNHONOURED.keys() & meta.keys():
        raise Problem("malformed", UNHONOURED[name])
    if "HTTP_IDEMPOTENCY_KEY" in meta and not takes_key:
        raise Problem(
            "malformed",
            "Idempotency-Key is honoured only by POST of a single resource; send this "
            "request without it.",
        )
    if not takes_conditions:
        for name in CONDITIONS.keys() & meta.keys():
            raise Problem(
                "malformed",
                f"{CONDITIONS[name]} is not honoured: this resource has no ETag. Send this "
                "request without it.",
            )
    if meta.get("QUERY_STRING"):
        check_names(request, query)


def _repeated(name: str) -> Problem:
    return Problem("malformed", f"{name} must be sent once, and has no comma.")
