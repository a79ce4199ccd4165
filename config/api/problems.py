"""Every error that the API responds with: RFC 9457 problem details, one shape for all."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.urls import reverse
from rest_framework import exceptions

from config.api.failures import FAILURES
from config.api.problem_types import PROBLEM_TYPES
from config.api.responses import json_response
from config.dsql.conflicts import OutcomeUnknown, sqlstates
from config.dsql.credentials import CredentialsUnavailable
from config.dsql.retry import ConflictRetriesExhausted

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
UNDEFINED = ("42P01", "42703")  # a table, a column

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


def problem_body(problem: Problem) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": f"{reverse('problems')}#{problem.code.replace('_', '-')}",
        "title": PROBLEM_TYPES[problem.code].title,
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
        problem_body(problem),
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
    """DRF's exception handler; None lets Django respond with its own 500."""
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
            "The connection to the database was lost while the change was saved, or the "
            "database could not report its outcome: whether it was done is unknown. Read "
            "before you repeat the request.",
        )
    if isinstance(error, ConflictRetriesExhausted):
        code = "write_conflict"
        detail = (
            "Other requests keep changing the same data; nothing was done. Repeat the "
            "request."
        )
    elif isinstance(error, CredentialsUnavailable):
        code = "database_unavailable"
        detail = "The API cannot get credentials for the database; nothing was done."
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
