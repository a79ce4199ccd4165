from datetime import UTC, datetime, timedelta

import pytest

from config.dsql.credentials import Credentials
from config.dsql.tokens import Endpoint, sign
from ops.local.sandbox.signatures import Key, TokenRefused, verify

HOST = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"
KEY = Key("AKIA", "secret", "arn:aws:iam::1:user/x", ("DbConnect", "DbConnectAdmin"))


KEYS = Credentials("AKIA", "secret")


def token(
    user: str = "admin", region: str = "us-east-1", keys: Credentials = KEYS
) -> str:
    return sign(Endpoint(HOST, region, user), keys)


def check(text: str, *, user: str = "admin", later: float = 0) -> Key:
    return verify(
        text,
        host=HOST,
        region="us-east-1",
        user=user,
        find_key=lambda name: KEY if name == "AKIA" else None,
        now=datetime.now(UTC) + timedelta(seconds=later),
    )


def test_accepts_what_botocore_signed() -> None:
    assert check(token()) is KEY
    assert check(token("app"), user="app") is KEY


@pytest.mark.parametrize(
    ("text", "later", "reason"),
    [
        (token(), 901, "Signature expired"),
        (token(), -1200, "not yet current"),
        (token(region="us-east-2"), 0, "another Region"),
        (token("app"), 0, "user: admin, action: DbConnect"),
        (token(keys=Credentials("AKIA", "wrong")), 0, "does not match"),
        (token(keys=Credentials("OTHER", "secret")), 0, "is invalid"),
        (token().replace(HOST, "other" + HOST[5:]), 0, "another host"),
        (
            token().replace("X-Amz-Expires=900", "X-Amz-Expires=9000"),
            0,
            "does not match",
        ),
        (
            token().replace("X-Amz-Expires=900", "X-Amz-Expires=604801"),
            0,
            "from 1 to 604800",
        ),
        (token() + "&X-Amz-Expires=900", 0, "repeats"),
        (token() + "&extra=1", 0, "adds parameters"),
        ("password", 0, "another host"),
        (HOST + "/?nonsense", 0, "not a token"),
    ],
)
def test_refuses_any_other_token(text: str, later: float, reason: str) -> None:
    with pytest.raises(TokenRefused, match=reason):
        check(text, later=later)
