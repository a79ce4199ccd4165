"""AWS's errors, told so that an operator knows the next step."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.stub import Stubber

from ops import aws


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test resolves credentials anew, from its own environment only."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_DSQL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    aws._session.cache_clear()
    yield
    aws._session.cache_clear()


@pytest.mark.parametrize(
    ("code", "message", "parts"),
    [
        (
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/x is not authorized to perform: dsql:AddPeerCluster on r",
            ["us-east-1: ListClusters", "Allow dsql:AddPeerCluster", "iam_policy"],
        ),
        ("AccessDenied", "No.", ["Allow the action of ListClusters"]),
        ("ExpiredTokenException", "Expired", ["have expired", "aws sso login"]),
        ("UnrecognizedClientException", "Bad", ["does not accept the credentials"]),
        ("ThrottlingException", "Slow", ["still throttled after 1 attempts"]),
        ("ServiceQuotaExceededException", "Limit", ["quota", "AWS said: Limit."]),
        ("ValidationException", "Odd\n value", ["ValidationException: Odd value."]),
    ],
)
def test_an_error_names_region_operation_and_remedy(
    code: str, message: str, parts: list[str]
) -> None:
    client = aws.client("dsql", "us-east-1")
    with Stubber(client) as stub:
        stub.add_client_error("list_clusters", code, message)
        with pytest.raises(aws.AwsError) as caught, aws.explained():
            client.list_clusters()
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_credentials_and_an_unknown_profile_name_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "AWS_ACCESS_KEY_ID" in aws.explain(NoCredentialsError())
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(aws.AwsError, match="Correct AWS_PROFILE"):
        aws.client("dsql", "us-east-1")


def test_an_unreachable_endpoint_asks_for_the_region_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_DSQL", f"http://127.0.0.1:{port}")
        monkeypatch.setattr("time.sleep", lambda _: None)
        with (
            pytest.raises(aws.AwsError, match="Check the Region's name"),
            aws.explained(),
        ):
            aws.client("dsql", "us-east-1").list_clusters()


def test_client_settings() -> None:
    config: Any = aws.client("dsql", "us-east-2").meta.config
    assert config.retries["mode"] == "adaptive"
    assert (config.connect_timeout, config.read_timeout) == (5, 30)
    assert config.user_agent_extra == "app/multi-region-app"


def test_other_errors_keep_their_code() -> None:
    error = ClientError(
        {"Error": {"Code": "ConflictException", "Message": "busy"}}, "X"
    )
    assert aws.error_code(error) == "ConflictException"
    assert aws.explain(error) == "AWS: X: ConflictException: busy."
