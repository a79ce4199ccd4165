"""The only place that makes AWS clients, and AWS errors as one sentence with the remedy."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_dsql.client import AuroraDSQLClient

CONFIG = Config(
    # Waits longer after throttling; a command has minutes, not milliseconds.
    retries={"mode": "adaptive", "total_max_attempts": 6},
    connect_timeout=5,
    read_timeout=30,
    user_agent_extra="app/multi-region-app",
)
# API Gateway's control plane takes CreateDeployment once in 5 s, UpdateAccount in 20,
# DeleteRestApi in 30, of a whole account (developer guide, "Amazon API Gateway quotas").
GATEWAY_CONFIG = Config(retries={"mode": "adaptive", "total_max_attempts": 14})
EXPIRED = {
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed",
}  # fmt: skip
UNKNOWN_KEY = {
    "AuthFailure", "IncompleteSignature", "InvalidClientTokenId",
    "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
THROTTLED = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
NO_CREDENTIALS = (
    exceptions.NoCredentialsError, exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
)  # fmt: skip
SIGN_IN_AGAIN = (
    exceptions.LoginTokenLoadError, exceptions.SSOTokenLoadError,
    exceptions.TokenRetrievalError, exceptions.UnauthorizedSSOTokenError,
)  # fmt: skip
UNREACHABLE = (
    exceptions.ConnectionClosedError, exceptions.ConnectTimeoutError,
    exceptions.EndpointConnectionError, exceptions.ReadTimeoutError,
)  # fmt: skip


class AwsError(Exception):
    """A failed call to AWS: one sentence, and what to do about it."""


@overload
def client(service: Literal["dsql"], region: str) -> "AuroraDSQLClient": ...
@overload
def client(service: str, region: str) -> Any: ...
def client(service: str, region: str) -> Any:
    """A client whose errors name its Region; the same one for the same arguments.

    Where boto3 finds AWS_ENDPOINT_URL_<SERVICE>, it calls that address instead.
    """
    try:
        return _client(_session(), service, region)
    except BotoCoreError as error:
        raise AwsError(explain(error)) from error


@cache
def _client(session: Any, service: str, region: str) -> Any:
    config = CONFIG.merge(GATEWAY_CONFIG) if service == "apigateway" else CONFIG
    made = session.client(service, region_name=region, config=config)

    def name_region(parsed: dict[str, Any], **_: Any) -> None:
        parsed.setdefault("ResponseMetadata", {})["Region"] = region

    made.meta.events.register("after-call", name_region)
    return made


@cache
def _session() -> Any:  # the stub's client() knows literal service names only
    return boto3.Session()


def make_session(region: str) -> boto3.Session:
    """A session for code that makes its own clients, which retry as API Gateway requires."""
    session = botocore.session.get_session()
    session.set_default_client_config(GATEWAY_CONFIG)
    return boto3.Session(botocore_session=session, region_name=region)


def account() -> str:
    """The id of the account whose credentials are in use. Raises AwsError."""
    with explained():
        # Any Region's endpoint responds; the global one belongs to us-east-1.
        return str(client("sts", "us-east-1").get_caller_identity()["Account"])


@contextmanager
def explained() -> Iterator[None]:
    """Turn what botocore raises inside into AwsError."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AwsError(explain(error)) from error


def existing(call: Callable[..., Any], **arguments: Any) -> Any:
    """The response of a CloudFormation call; None when the stack or resource does not exist.

    Raises AwsError.
    """
    with explained():
        try:
            return call(**arguments)
        except ClientError as error:
            # One code stands for all that can be wrong with the request.
            if "does not exist" in str(error):
                return None
            raise


def explain(error: BotoCoreError | ClientError) -> str:
    """What failed, where, and what to do next."""
    if isinstance(error, ClientError):
        return _explain_response(error)
    if isinstance(error, NO_CREDENTIALS):
        return (
            f"{_sentence(str(error))} Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or sign in with `aws sso login`. Without an AWS account: "
            f"`make run` or `manage.py sandbox up`."
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return f"{_sentence(str(error))} Correct AWS_PROFILE or create it: `aws configure`."
    if isinstance(error, SIGN_IN_AGAIN):
        return f"{_sentence(str(error))} Sign in again: `aws sso login` or `aws login`."
    if isinstance(error, UNREACHABLE):
        return (
            f"{_sentence(str(error))} Check the Region's name (the service is not in every "
            f"Region) and the network."
        )
    return _sentence(str(error))


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _explain_response(error: ClientError) -> str:
    metadata: Any = error.response.get("ResponseMetadata", {})
    where = f"{metadata.get('Region', 'AWS')}: {error.operation_name}"
    code = error_code(error)
    message = _sentence(error.response.get("Error", {}).get("Message") or code)
    if code in EXPIRED:
        return (
            f"{where}: the credentials have expired or this machine's clock is wrong. Sign in "
            f"again (`aws sso login`) or set fresh keys. AWS said: {message}"
        )
    if code in UNKNOWN_KEY:
        return (
            f"{where}: AWS does not accept the credentials. Check AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY and AWS_PROFILE. AWS said: {message}"
        )
    if code in DENIED:
        action = _denied_action(message) or f"the action of {error.operation_name}"
        return (
            f"{where}: access denied. Allow {action} to this user or role; `manage.py "
            f"iam_policy` prints what the commands need. AWS said: {message}"
        )
    if code in THROTTLED:
        attempts = 1 + int(metadata.get("RetryAttempts", 0))
        return f"{where}: still throttled after {attempts} attempts. Wait a minute and run the command again."
    if code == "ServiceQuotaExceededException":
        return (
            f"{where}: a quota is reached. Delete what is not needed or request more in the "
            f"Service Quotas console. AWS said: {message}"
        )
    return f"{where}: {code}: {message}"


def _denied_action(message: str) -> str:
    found = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    return found[1] if found else ""


def _sentence(text: str) -> str:
    joined = " ".join(text.split())
    return joined if joined.endswith((".", "!", "?")) else f"{joined}."
