"""Access tokens: what is let in, and every known way of forging one refused."""

import time
from typing import Any

import jwt
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from config.api import bearer_tokens, rate_limits
from tests.config.api.forgeries import (
    Make,
    malformed_tokens,
    wrong_claims,
    wrong_signatures,
)
from tests.config.api.signed_tokens import (
    AUDIENCE,
    ISSUER,
    KEY,
    PEM,
    RSA_KEY,
    SPKI,
    Issuer,
    claims,
    forged,
    jwk,
    token,
)
from tests.users.test_api import ADA, send

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def issuer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    settings.API_AUTH = "oidc"
    settings.OIDC_ISSUER, settings.OIDC_AUDIENCE = ISSUER, AUDIENCE
    served = Issuer()
    cache = bearer_tokens.Keys(served.fetch, clock=lambda: served.now)
    monkeypatch.setattr(bearer_tokens, "keys", lambda: cache)
    return served


def get(bearer: str | None, path: str = "/users") -> Any:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return Client().get(path, headers=headers)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(KEY, "ES256", "ec"), (RSA_KEY, "RS256", "rsa")]
)
def test_a_good_token_is_let_in(key: Any, algorithm: str, kid: str) -> None:
    assert get(token(key, algorithm, kid)).status_code == 200
    assert get(token(key, algorithm, kid, aud=["x", AUDIENCE])).status_code == 200
    assert get(token(key, algorithm, kid, typ="application/at+jwt")).status_code == 200


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512"])
def test_a_key_without_an_algorithm_serves_those_of_its_type(
    settings: Any, issuer: Issuer, algorithm: str
) -> None:
    settings.OIDC_ALGORITHMS = [algorithm, "ES256"]
    assert get(token(RSA_KEY, algorithm, "rsa")).status_code == 200
    assert get(forged({"alg": "ES256", **SPKI}, PEM)).status_code == 401
    issuer.keys = [jwk(RSA_KEY, "bound", alg="RS256")]
    issuer.now += bearer_tokens.FLOOR_SECONDS
    bound = get(token(RSA_KEY, algorithm, "bound"))
    assert bound.status_code == (200 if algorithm == "RS256" else 401)


@pytest.mark.parametrize("served", [{}, {"keys": None}, {"keys": 5}, {"keys": ["x"]}])
def test_a_key_set_that_is_none_is_503(
    monkeypatch: pytest.MonkeyPatch, served: dict[str, Any]
) -> None:
    cache = bearer_tokens.Keys(lambda: served)
    monkeypatch.setattr(bearer_tokens, "keys", lambda: cache)
    assert get(token()).status_code == 503


@pytest.mark.parametrize(
    ("reason", "bearer"),
    [
        pytest.param(*a[1:], id=a[0])
        for a in (*wrong_signatures(), *wrong_claims(), *malformed_tokens())
    ],
)
def test_an_attack_is_refused(reason: str, bearer: str | Make) -> None:
    answer = get(bearer if isinstance(bearer, str) else bearer(int(time.time())))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert reason in answer.json()["detail"]
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]
    assert "Traceback" not in answer.content.decode()


def test_without_a_token_the_challenge_says_what_to_send() -> None:
    for header in ({}, {"authorization": "Basic YTpi"}):
        answer = Client().get("/users", headers=header)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="users"'
    assert Client().get("/users?access_token=" + token()).status_code == 401


def test_a_token_and_a_key_may_have_no_key_id(issuer: Issuer) -> None:
    nameless = jwt.encode(claims(), KEY, "ES256", {"typ": "at+jwt"})
    assert get(nameless).status_code == 200
    for member in issuer.keys:
        del member["kid"]
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    assert get(nameless).status_code == 200
    assert get(token(RSA_KEY, "RS256", "rsa")).status_code == 200


def test_a_token_may_be_valid_for_a_day() -> None:
    assert get(token(exp=int(time.time()) + 24 * 3600)).status_code == 200


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert get(token(exp=now - 20, nbf=now + 20, iat=now + 20)).status_code == 200


@pytest.mark.parametrize(
    ("scope", "method", "status"),
    [("users:read", "GET", 200), ("users:read", "POST", 403), ("users:write", "GET", 403),
     ("users:write", "POST", 201), ("users:admin", "GET", 403), ("", "GET", 403),
     (None, "GET", 403), ("users:reader", "GET", 403), ("users:read", "HEAD", 200)],
)  # fmt: skip
def test_a_method_takes_its_scope(scope: str | None, method: str, status: int) -> None:
    bearer = token(scope=scope)
    answer = send(
        Client(), method, "/users", ADA, headers={"authorization": f"bearer {bearer}"}
    )
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "insufficient_scope"
        needed = "users:read" if method == "GET" else "users:write"
        assert f'scope="{needed}"' in answer["WWW-Authenticate"]


def write(method: str, path: str, body: Any, scope: str, **headers: str) -> Any:
    bearer = {"authorization": f"Bearer {token(scope=scope)}", **headers}
    return send(Client(), method, path, body, headers=bearer)


@pytest.mark.parametrize("between", ["\t", "\n", ",", "\u00a0", "\u2003"])
def test_scopes_are_told_apart_by_spaces_only(between: str) -> None:
    assert get(token(scope=f"users:read{between}x")).status_code == 403
    assert get(token(scope="users:read  x")).status_code == 200


def test_who_may_only_write_reads_nothing() -> None:
    created = write("POST", "/users", ADA, "users:write")
    path = created["Location"]
    put = write("PUT", path, {**ADA, "name": "Ada King"}, "users:write")
    patched = write("PATCH", path, {"name": "Ada L."}, "users:write")
    same = write("PATCH", path, {"name": "Ada L."}, "users:write")
    statuses = [each.status_code for each in (created, put, patched, same)]
    assert statuses == [201, 204, 204, 204]
    for answer in (created, put, patched, same):
        assert (answer.content, "Content-Type" in answer) == (b"", False)
    assert created["ETag"] != put["ETag"] != patched["ETag"] == same["ETag"]
    read = get(token(), path)
    assert (read.json()["name"], read["ETag"]) == ("Ada L.", same["ETag"])
    refused = write("PATCH", path, {}, "users:write")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    failed = write("PATCH", path, {"name": "x"}, "users:write", **{"if-match": '"1"'})
    assert failed.status_code == 412
    for answer in (refused, failed):
        assert "Ada" not in answer.content.decode()
    assert write("DELETE", path, b"", "users:write").status_code == 204


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["users:write", "users:read users:write"])
def test_a_replay_has_a_body_only_for_who_may_read(first: str) -> None:
    key = {"idempotency-key": "k"}
    created = write("POST", "/users", ADA, first, **key)
    blind = write("POST", "/users", ADA, "users:write", **key)
    seeing = write("POST", "/users", ADA, "users:write users:read", **key)
    assert [a.status_code for a in (created, blind, seeing)] == [201] * 3
    assert (blind.content, "Content-Type" in blind) == (b"", False)
    assert seeing.json()["email"] == ADA["email"]
    for replay in (blind, seeing):
        assert replay["Idempotency-Replayed"] == "true"
        assert replay["Location"] == created["Location"]
        assert replay["ETag"] == created["ETag"]


def test_what_may_be_asked_is_told_to_everyone() -> None:
    assert Client().options("/users").status_code == 204


def test_health_and_the_index_stay_open() -> None:
    for path in ("/", "/health", "/health/live"):
        assert get(None, path).status_code == 200


def test_unknown_keys_do_not_flood_the_issuer(issuer: Issuer) -> None:
    for number in range(100):
        assert get(token(kid=f"unknown {number}")).status_code == 401
    assert issuer.reads == 1
    issuer.keys.append(jwk(RSA_KEY, "new"))
    issuer.now += bearer_tokens.FLOOR_SECONDS
    assert get(token(RSA_KEY, "RS256", "new")).status_code == 200
    assert issuer.reads == 2


def test_a_withdrawn_key_goes_and_keys_outlive_their_issuer(issuer: Issuer) -> None:
    assert get(token()).status_code == 200
    issuer.keys = issuer.keys[1:]
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    assert get(token()).status_code == 401
    issuer.up = False
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    good = token(RSA_KEY, "RS256", "rsa")
    assert get(good).status_code == 200
    issuer.now += bearer_tokens.STALE_SECONDS
    assert get(good).status_code == 503


def test_an_issuer_that_is_away_is_503_not_401(issuer: Issuer) -> None:
    issuer.up = False
    answer = get(token())
    assert (answer.status_code, answer.json()["code"]) == (503, "issuer_unavailable")
    assert answer["Retry-After"] == "30"


def test_failed_tokens_are_limited_by_address_and_good_ones_are_not(
    settings: Any,
) -> None:
    rate_limits.BUCKETS.clear()
    settings.API_RATE_LIMIT = 3

    def ask(bearer: str | None, address: str) -> Any:
        headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
        return Client().get("/users", headers=headers, REMOTE_ADDR=address)

    for bearer in ("rubbish", None, token(kid="other")):
        assert ask(bearer, "2001:db8::1").status_code == 401
    refused = ask("rubbish", "2001:db8::2")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused["Retry-After"]) > 0
    assert ask(token(), "2001:db8::1").status_code == 200
    assert ask("rubbish", "2001:db8:0:1::1").status_code == 401


def test_a_token_without_the_scope_is_limited_as_any_other(settings: Any) -> None:
    rate_limits.BUCKETS.clear()
    settings.API_RATE_LIMIT = 2
    answers = [get(token(scope="")).status_code for _ in range(3)]
    assert answers == [403, 403, 429]


def test_callers_do_not_share_idempotency_keys() -> None:
    def post(sub: str, email: str) -> Any:
        bearer = {"authorization": f"Bearer {token(sub=sub)}", "idempotency-key": "k"}
        return send(Client(), "POST", "/users", {**ADA, "email": email}, headers=bearer)

    assert post("ada", "a@example.com").status_code == 201
    assert post("bob", "b@example.com").status_code == 201


def test_callers_whom_api_gateway_knows_do_not_share_them_either(settings: Any) -> None:
    settings.API_AUTH = "none"

    def post(caller: str, email: str) -> Any:
        known = {"apigateway.caller": caller, "HTTP_IDEMPOTENCY_KEY": "k"}
        return send(Client(), "POST", "/users", {**ADA, "email": email}, **known)

    assert post("ada", "a@example.com").status_code == 201
    assert post("bob", "b@example.com").status_code == 201


@pytest.mark.parametrize(
    ("choice", "deploy", "found"),
    [("", False, "api.E001"), ("none", False, None), ("none", True, "api.E003"),
     ("oidc", True, None)],
)  # fmt: skip
def test_the_choice_is_checked(
    settings: Any, choice: str, deploy: bool, found: str | None
) -> None:
    settings.API_AUTH = choice
    errors = run_checks(tags=["security"], include_deployment_checks=deploy)
    ours = [error.id for error in errors if str(error.id).startswith("api.")]
    assert ours == ([found] if found else [])


def test_half_a_configuration_is_refused(settings: Any) -> None:
    settings.OIDC_AUDIENCE, settings.OIDC_ISSUER = "", "http://issuer.example.com"
    errors = run_checks(tags=["security"], include_deployment_checks=True)
    ours = [str(error.id) for error in errors if str(error.id).startswith("api.")]
    assert sorted(ours) == ["api.E002", "api.E004"]


def test_serving_any_host_is_refused_and_listing_none_is_not(settings: Any) -> None:
    for hosts, found in (["*"], ["api.E005"]), ([], []):
        settings.ALLOWED_HOSTS = hosts
        errors = run_checks(tags=["security"], include_deployment_checks=True)
        ours = [
            e.id
            for e in errors
            if e.id in {"api.E005", "security.W020"} and not e.is_silenced()
        ]
        assert ours == found


def test_without_a_choice_nobody_is_served(settings: Any) -> None:
    settings.API_AUTH = ""
    with pytest.raises(ImproperlyConfigured, match="API_AUTH"):
        get(token())
