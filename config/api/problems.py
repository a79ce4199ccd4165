"""Every error the API answers: RFC 9457 problem details, one shape for all."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import Error
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from config.dsql.conflicts import OutcomeUnknown
from config.dsql.retry import ConflictRetriesExhausted

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    428: "Precondition Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Problem(exceptions.APIException):
    """An error with its status, a stable machine-readable code and, per field, reasons."""

    def __init__(
        self,
        status_code: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status_code
        self.code = code
        self.errors = errors
        self.headers = dict(headers or {})


def body(problem: Problem) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": f"/problems/{problem.code.replace('_', '-')}",
        "title": TITLES[problem.status_code],
        "status": problem.status_code,
        "code": problem.code,
        "detail": str(problem.detail),
    }
    if problem.errors:
        content["errors"] = list(problem.errors)
    return content


class ProblemRenderer(JSONRenderer):
    media_type = MEDIA_TYPE
    charset = None


def respond(problem: Problem) -> Response:
    return Response(
        body(problem),
        status=problem.status_code,
        headers=problem.headers,
        content_type=MEDIA_TYPE,
    )


def of_validation(detail: Any) -> Problem:
    """Name every refused field with a JSON pointer (RFC 6901) and its reason."""
    errors = [
        {"pointer": f"/{name}" if name else "", "reason": str(reason)}
        for name, reasons in detail.items()
        for reason in (reasons if isinstance(reasons, list) else [reasons])
    ]
    return Problem(400, "invalid", "The request has invalid fields.", errors=errors)


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler; None lets Django answer its own 500."""
    if isinstance(error, Problem):
        return respond(error)
    if isinstance(error, exceptions.ValidationError):
        return respond(of_validation(error.detail))
    if isinstance(error, exceptions.APIException):
        return respond(_of_api_exception(error, context))
    if isinstance(error, ConflictRetriesExhausted | OutcomeUnknown):
        return respond(of_database(error))
    return None


def of_database(error: Error) -> Problem:
    """503 for a database that could not do it; the code says what a client may do."""
    if isinstance(error, OutcomeUnknown):
        # No Retry-After: a program must not repeat this by itself.
        return Problem(
            status.HTTP_503_SERVICE_UNAVAILABLE,
            "outcome_unknown",
            "The connection to the database was lost while the change was saved: it was "
            "made, or it was not. Read before you repeat the request.",
        )
    if isinstance(error, ConflictRetriesExhausted):
        code = "write_conflict"
        detail = "Other requests keep changing the same data. Repeat the request."
    else:
        code = "database_unavailable"
        detail = "The database cannot be reached. Repeat the request."
    return Problem(
        status.HTTP_503_SERVICE_UNAVAILABLE,
        code,
        detail,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _of_api_exception(
    error: exceptions.APIException, context: Mapping[str, Any]
) -> Problem:
    headers = {}
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    codes = {400: "malformed", 404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "unsupported_media_type")
    return Problem(error.status_code, code, str(error.detail), headers=headers)
