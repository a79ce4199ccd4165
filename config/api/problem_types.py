"""The types of problems that the API publishes: the core's, and what each app adds."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

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
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(frozen=True, slots=True)
class ProblemType:
    """Its status, what it means and what to do about it; one title for all its cases.

    The title is the status's own phrase where none is given (RFC 9457, section 3.1.3).
    """

    status: int
    meaning: str
    remedy: str
    title: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", TITLES[self.status])


PROBLEM_TYPES: dict[str, ProblemType] = {
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
        "Get a token from the issuer with the scope that WWW-Authenticate names.",
    ),
    "not_found": ProblemType(
        404, "Nothing exists here, or it no longer does.", "Check the path and the id."
    ),
    "method_not_allowed": ProblemType(
        405, "The path does not know this method.", "Use one that Allow names."
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
        "Use a new key to create it again.",
    ),
    "precondition_failed": ProblemType(
        412,
        "The resource is not in the state that If-Match or If-None-Match names.",
        "Read it again and decide again.",
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
        "A change must name the version that it applies to.",
        "Send If-Match with the ETag of the resource as last read.",
    ),
    "rate_limited": ProblemType(
        429, "Too many requests.", "Wait Retry-After seconds; see RateLimit."
    ),
    "refused": ProblemType(
        403,
        "API Gateway refused the request, which did not reach the API.",
        "Check the address, and the key or signature if one is required.",
        title="Request Refused",
    ),
    "unsupported_wiring": ProblemType(
        501,
        "The API was called through something that it is not served by, such as a load "
        "balancer or a function URL; nothing was done.",
        "Call the API by its own address; the operator's log names the wiring.",
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
        "The connection to the database was lost while the change was saved, or the "
        "database could not report its outcome: whether it was done is unknown.",
        "Read before you repeat the request; with its Idempotency-Key, repeat it anywhere.",
    ),
    "issuer_unavailable": ProblemType(
        503,
        "The keys of the access tokens' issuer cannot be read; nothing was done.",
        "Repeat it after Retry-After seconds.",
    ),
}


def register(types: Mapping[str, ProblemType]) -> None:
    """Add an app's types. Raises ImproperlyConfigured for a code that has another one."""
    for code, problem_type in types.items():
        if PROBLEM_TYPES.setdefault(code, problem_type) != problem_type:
            raise ImproperlyConfigured(
                f"The problem type {code!r} is registered already; choose another code."
            )
