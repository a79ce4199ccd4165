"""Who calls: kinds never meet, sessions of one role are one caller."""

from typing import Any

import pytest

from config.on_lambda.events import build_environ
from config.on_lambda.identity import CALLER, identify_caller
from tests.config.on_lambda.test_events import API, event

ROLE = "arn:aws:sts::123456789012:assumed-role/deployer"
CERTIFICATE = {"subjectDN": "CN=ada", "issuerDN": "CN=ca", "serialNumber": "1"}


def identify(**identity: Any) -> str:
    return identify_caller({"identity": identity})


@pytest.mark.parametrize(
    ("request_context", "caller"),
    [
        ({}, ""),
        ({"authorizer": {"claims": {"sub": "ada"}}}, "token ada"),
        ({"authorizer": {"claims": {"sub": "ada", "iss": "https://a.example.com/x y"}}},
         "issuer https://a.example.com/x%20y ada"),
        ({"authorizer": {"claims": {"sub": "ada", "iss": ["https://a"]}}}, "token ada"),
        ({"authorizer": {"claims": {"iss": "https://a"}}}, ""),
        ({"authorizer": {"principalId": "ada"}}, "principal ada"),
        ({"identity": {"userArn": "arn:aws:iam::1:user/a/ada"}}, "iam 1 user/a/ada"),
        ({"identity": {"userArn": "arn:aws:iam::1:root"}}, "iam 1 root"),
        ({"identity": {"userArn": "arn:aws:sts::1:federated-user/ada"}},
         "iam 1 federated-user/ada"),
        ({"identity": {"userArn": "ada"}}, "iam ada"),
        ({"authorizer": None, "identity": {"userArn": None}}, ""),
        ({"authorizer": {"claims": "sub=ada"}}, ""),
        ({"authorizer": {"claims": {"sub": 7}, "principalId": {"a": 1}}}, ""),
        ({"authorizer": "ada", "identity": ["ada"]}, ""),
        ({"authorizer": {"claims": "x", "principalId": "ada"}}, "principal ada"),
    ],
)  # fmt: skip
def test_the_caller_is_whom_api_gateway_let_in(
    request_context: dict[str, Any], caller: str
) -> None:
    assert identify_caller(request_context) == caller
    asked = event(API, "/prod/", "/", None)
    asked["requestContext"] |= request_context
    assert build_environ(asked, None)[CALLER] == caller


def test_each_session_of_a_role_is_the_same_caller() -> None:
    first, second = identify(userArn=f"{ROLE}/a"), identify(userArn=f"{ROLE}/b@c")
    assert first == second == "iam 123456789012 role/deployer"
    assert identify(userArn=f"{ROLE}2/a") != first
    other = ROLE.replace("123456789012", "210987654321")
    assert identify(userArn=f"{other}/a") != first


def test_callers_of_an_identity_pool_are_told_apart_behind_their_one_role() -> None:
    session = f"{ROLE}/CognitoIdentityCredentials"
    first = identify(userArn=session, cognitoIdentityId="us-east-1:a")
    second = identify(userArn=session, cognitoIdentityId="us-east-1:b")
    assert (first, second) == ("identity us-east-1:a", "identity us-east-1:b")


def test_certificates_and_keys_are_told_apart_and_the_key_is_not_shown() -> None:
    first = identify(clientCert=CERTIFICATE)
    assert identify(clientCert={**CERTIFICATE, "serialNumber": "2"}) == first
    assert identify(clientCert={**CERTIFICATE, "subjectDN": "CN=bob"}) != first
    assert identify(clientCert={**CERTIFICATE, "issuerDN": "CN=other"}) != first
    key, other = identify(apiKey="a secret", apiKeyId="1"), identify(apiKey="another")
    assert "" != key != other != ""
    assert "a secret" not in key
    # Imported into the other Region it has another id.
    assert identify(apiKey="a secret", apiKeyId="2") == key


def test_the_same_subject_of_two_issuers_is_two_callers() -> None:
    pairs = [
        ("a", "b"),
        ("a2", "b"),
        ("a", "b c"),
        ("a b", "c"),
        ("a\nb", "c"),
        ("", "a b"),
    ]
    found = [
        identify_caller({"authorizer": {"claims": {"iss": issuer, "sub": subject}}})
        for issuer, subject in pairs
    ]
    assert len(set(found)) == len(pairs)


def test_no_kind_of_caller_can_take_the_name_of_another() -> None:
    name = "ada"
    found = [
        identify_caller({"authorizer": {"claims": {"sub": name}}}),
        identify_caller({"authorizer": {"claims": {"sub": name, "iss": name}}}),
        identify_caller({"authorizer": {"principalId": name}}),
        identify(cognitoIdentityId=name),
        identify(userArn=name),
        identify(clientCert={"subjectDN": name}),
        identify(apiKey=name),
    ]
    assert len({each.split(" ")[0] for each in found}) == len(found)


def test_what_an_authorizer_found_out_comes_first() -> None:
    identity = {"userArn": f"{ROLE}/a", "apiKey": "k", "clientCert": CERTIFICATE}
    request = {"authorizer": {"principalId": "ada"}, "identity": identity}
    assert identify_caller(request) == "principal ada"
    assert identify(**identity) == "iam 123456789012 role/deployer"
    assert identify(clientCert=CERTIFICATE, apiKey="k").startswith("certificate ")
