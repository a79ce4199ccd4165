"""Every error the API answers: RFC 9457 problem details, one shape for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.urls import reverse
from rest_framework import exceptions

from config.api.failures import FAILURES
from config.api.responses import json_response
from config.dsql.conflicts import OutcomeUnknown, sqlstates
from config.dsql.retry import ConflictRetriesExhausted
from config.dsql.tokens import CredentialsUnavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
UNDEFINED = ("42P01", "42703")  # a table, a column

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    428: "Precondition Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


# What DRF's own errors are called here, by status.
CODES = {
    401: "unauthenticated",
    403: "insufficient_scope",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem: its status, what it means and what to do about it."""

    status: int
    meaning: str
    remedy: str


PROBLEM_TYPES = {
    "malformed": ProblemType(
        400, "The request cannot be read.", "Correct what the detail names."
    ),
    "host_not_allowed": ProblemType(
        400,
        "The Host header is missing or is not one of the API's names.",
        "Call the API by its own name; the operator lists others in ALLOWED_HOSTS.",
    ),
    "invalid": ProblemType(
        400,
        "Fields of the body are refused; errors points at each.",
        "Correct the fields.",
    ),
    "invalid_parameter": ProblemType(
        400, "A query parameter is refused.", "Correct or remove the parameter."
    ),
    "unauthenticated": ProblemType(
        401,
        "No access token was sent, or it is not valid.",
        "Get a new token from the issuer and send it as Authorization: Bearer.",
    ),
    "insufficient_scope": ProblemType(
        403,
        "The access token does not allow this.",
        "Ask the issuer for a token with the scope that WWW-Authenticate names.",
    ),
    "not_found": ProblemType(
        404, "There is nothing here, or no longer.", "Check the path and the id."
    ),
    "method_not_allowed": ProblemType(
        405, "The path does not know this method.", "Use one that Allow names."
    ),
    "email_taken": ProblemType(
        409,
        "Another user has this e-mail address; letter case does not count.",
        "Use another address, or change the user that has it.",
    ),
    "idempotency_conflict": ProblemType(
        409,
        "A request with the same Idempotency-Key is under way.",
        "Repeat the same request after Retry-After seconds.",
    ),
    "gone": ProblemType(
        410,
        "The request with this Idempotency-Key was done, and what it created has been "
        "deleted since.",
        "Use a new key to create it anew.",
    ),
    "precondition_failed": ProblemType(
        412,
        "The user is not in the state that If-Match or If-None-Match names.",
        "Read the user again and decide anew.",
    ),
    "length_required": ProblemType(
        411,
        "The body came in chunks, which are not read here.",
        "Send the body with Content-Length.",
    ),
    "too_large": ProblemType(413, "The body is too large.", "Send less at once."),
    "unsupported_media_type": ProblemType(
        415,
        "The body is of a type, charset or coding that is not read here.",
        "Send application/json, or for PATCH application/merge-patch+json.",
    ),
    "idempotency_key_reused": ProblemType(
        422,
        "The Idempotency-Key was used for another request.",
        "Use a new key for every new request.",
    ),
    "precondition_required": ProblemType(
        428,
        "Changes must name the version they are made to.",
        "Send If-Match with the ETag of the user as last read.",
    ),
    "rate_limited": ProblemType(
        429, "Too many requests.", "Wait Retry-After seconds; see RateLimit."
    ),
    "refused": ProblemType(
        403,
        "API Gateway refused the request, which did not reach the API.",
        "Check the address, and the key or signature if it wants one.",
    ),
    "unavailable": ProblemType(
        502,
        "API Gateway got no response from the API that it could pass on; whether the "
        "request was done is unknown.",
        "Read before you repeat a change; with its Idempotency-Key, repeat it anywhere.",
    ),
    "timeout": ProblemType(
        504,
        "The API did not respond to API Gateway in time; whether the request was done is "
        "unknown.",
        "Read before you repeat a change; with its Idempotency-Key, repeat it anywhere.",
    ),
    "internal_error": ProblemType(
        500,
        "The request failed, which was logged; whether it was done is unknown.",
        "Report it with its X-Request-Id.",
    ),
    "database_unavailable": ProblemType(
        503,
        "The database cannot be reached; nothing was done.",
        "Repeat the request after Retry-After seconds, or at once in the other Region.",
    ),
    "schema_behind": ProblemType(
        503,
        "The database lacks a table or a column that a migration of this version makes; "
        "nothing was done.",
        "Repeat the request when the operator has run manage.py dsql_database.",
    ),
    "write_conflict": ProblemType(
        503,
        "Other requests keep changing the same data; nothing was done.",
        "Repeat it after Retry-After seconds.",
    ),
    "outcome_unknown": ProblemType(
        503,
        "The database was lost, or could not tell, while the change was saved: whether it "
        "was done is unknown.",
        "Read before you repeat the request; with its Idempotency-Key, repeat it anywhere.",
    ),
    "issuer_unavailable": ProblemType(
        503,
        "The keys of the access tokens' issuer cannot be read; nothing was done.",
        "Repeat it after Retry-After seconds.",
    ),
}


class Problem(exceptions.APIException):
    """An error with its status, a stable machine-readable code and, per field, reasons."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = PROBLEM_TYPES[code].status
        self.code = code
        self.errors = errors
        self.headers = dict(headers or {})


def _text(value: object) -> str:
    """As JSON can hold it: what a client sent may have lone surrogates, and be quoted."""
    return str(value).encode(errors="backslashreplace").decode()


def body(problem: Problem) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": f"{reverse('problems')}#{problem.code.replace('_', '-')}",
        "title": TITLES[problem.status_code],
        "status": problem.status_code,
        "code": problem.code,
        "detail": _text(problem.detail),
    }
    if problem.errors:
        content["errors"] = [
            {name: _text(value) for name, value in error.items()}
            for error in problem.errors
        ]
    return content


def respond(problem: Problem) -> HttpResponse:
    return json_response(
        body(problem),
        status=problem.status_code,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def problem_from_validation(detail: Any) -> Problem:
    """Name every refused field with a JSON pointer (RFC 6901) and its reason."""
    errors = [
        {"pointer": _pointer(name), "reason": str(reason)}
        for name, reasons in detail.items()
        for reason in (reasons if isinstance(reasons, list) else [reasons])
    ]
    return Problem("invalid", "The request has invalid fields.", errors=errors)


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """DRF's exception handler; None lets Django answer its own 500."""
    if isinstance(error, Problem):
        if error.status_code == 503:
            FAILURES.write(error.code, error)
        return respond(error)
    if isinstance(error, exceptions.ValidationError):
        return respond(problem_from_validation(error.detail))
    if isinstance(error, exceptions.APIException):
        return respond(_of_api_exception(error, context))
    if isinstance(error, ConflictRetriesExhausted | OutcomeUnknown):
        return respond_unavailable(error)
    return None


def respond_unavailable(error: BaseException) -> HttpResponse:
    """503 for a database that could not do it, with its line in the log."""
    problem = problem_from_database_error(error)
    FAILURES.write(problem.code, error)
    return respond(problem)


def schema_is_behind(error: BaseException) -> bool:
    """Whether the database lacks a table or a column of this version's migrations."""
    return not sqlstates(error).isdisjoint(UNDEFINED)


def is_database_state(error: BaseException) -> bool:
    """Whether the error is a state of the database that ``problem_from_database_error`` describes."""
    return isinstance(error, OperationalError | InterfaceError) or schema_is_behind(
        error
    )


def problem_from_database_error(error: BaseException) -> Problem:
    """503 for a database that could not do it; the code says what a client may do.

    An error that is no state of the database is the service's own: 500.
    """
    if not is_database_state(error):
        return Problem("internal_error", "The request failed; it was logged.")
    if schema_is_behind(error):
        return Problem(
            "schema_behind",
            "The database lacks a table or a column of this version (schema: behind); "
            "nothing was done.",
        )
    if isinstance(error, OutcomeUnknown):
        # No Retry-After: a program must not repeat this by itself.
        return Problem(
            "outcome_unknown",
            "The database was lost, or could not tell, while the change was saved: whether "
            "it was done is unknown. Read before you repeat the request.",
        )
    if isinstance(error, ConflictRetriesExhausted):
        code = "write_conflict"
        detail = (
            "Other requests keep changing the same data; nothing was done. Repeat the "
            "request."
        )
    elif isinstance(error, CredentialsUnavailable):
        code = "database_unavailable"
        detail = (
            "The API's credentials for the database cannot be had; nothing was done."
        )
    else:
        code = "database_unavailable"
        detail = "The database cannot be reached; nothing was done. Repeat the request."
    return Problem(
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
    if isinstance(error, exceptions.UnsupportedMediaType):
        method, view = context["request"].method, context["view"]
        headers["Accept"] = view.accepted(method)  # RFC 9110, section 15.5.16
        if method == "PATCH":
            headers["Accept-Patch"] = headers["Accept"]
    code = CODES.get(error.status_code)
    if code is None:
        code = "malformed" if error.status_code < 500 else "internal_error"
    return Problem(code, str(error.detail), headers=headers)
