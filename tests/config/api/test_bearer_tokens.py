"""The issuer's keys: which one a token means, and who waits for them how long."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from config.api import bearer_tokens
from config.api.bearer_tokens import KeySet, NoKeys, parse_keys
from config.telemetry.logs import JSONFormatter
from config.telemetry.measures import Measures, current
from tests.config.api.slow_issuer import RSA, Issuer, jwk


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    served = Issuer()
    yield served
    served.open.set()
    if served.keys._read is not None:
        assert served.keys._read.done.wait(30)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# Waiting.


def test_known_keys_serve_at_once_while_they_are_young(issuer: Issuer) -> None:
    assert issuer.keys.get("old", "ES256")
    issuer.fall_silent()
    issuer.now += bearer_tokens.LIFETIME_SECONDS
    issuer.waits.clear()
    assert issuer.keys.get("old", "ES256")
    assert (issuer.waits, issuer.reads) == ([], 1)


def test_a_known_key_waits_a_quarter_of_a_second_and_is_served_the_old_set(
    issuer: Issuer,
) -> None:
    issuer.keys.get("old", "ES256")
    issuer.fall_silent()
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    issuer.waits.clear()
    assert issuer.keys.get("old", "ES256")
    (waited,) = issuer.waits
    assert 0.2 < waited <= 0.25


def test_an_unknown_key_waits_two_seconds(issuer: Issuer) -> None:
    issuer.fall_silent()
    with pytest.raises(NoKeys):
        issuer.keys.get("old", "ES256")
    (waited,) = issuer.waits
    assert 1.9 < waited <= 2.0


def test_many_requests_begin_one_read_and_none_holds_the_lock(issuer: Issuer) -> None:
    issuer.keys.get("old", "ES256")
    issuer.fall_silent()
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    for _ in range(50):
        assert issuer.keys.get("old", "ES256")
        assert issuer.keys.get("new", "ES256") is None
    issuer.members.append(jwk(RSA, kid="new"))
    issuer.settle()
    assert issuer.reads == 2
    assert issuer.keys.get("new", "RS256")


def test_a_real_wait_ends_although_the_issuer_says_nothing(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waits above are the test's; this one is the product's own."""
    monkeypatch.setattr(bearer_tokens, "UNKNOWN_KEY_WAIT", 0.1)
    issuer.keys._wait = threading.Event.wait
    issuer.fall_silent()
    with pytest.raises(NoKeys):
        issuer.keys.get("old", "ES256")


def test_a_key_of_a_set_that_is_too_old_is_an_unknown_one(issuer: Issuer) -> None:
    issuer.keys.get("old", "ES256")
    issuer.fall_silent()
    issuer.now += bearer_tokens.STALE_SECONDS + 1
    issuer.waits.clear()
    with pytest.raises(NoKeys):
        issuer.keys.get("old", "ES256")
    (waited,) = issuer.waits
    assert waited > 1.9


def test_a_clock_that_is_set_back_keeps_neither_old_keys_nor_new_ones_out(
    issuer: Issuer,
) -> None:
    assert issuer.keys.get("old", "ES256")
    issuer.now -= 3600
    issuer.members = [jwk(kid="new")]
    assert issuer.keys.get("old", "ES256") is None
    assert issuer.keys.get("new", "ES256")
    assert issuer.reads == 2


# Freezing.


def freeze(issuer: Issuer, seconds: float) -> None:
    """The process stands still while a read is under way; its socket then times out."""
    issuer.now += seconds
    issuer.error = TimeoutError("the time for all of it is over")
    issuer.open.set()


@pytest.mark.parametrize("seconds", [5.0, 25.0, 3600.0])
def test_a_read_that_spans_a_freeze_does_not_count(
    issuer: Issuer, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    issuer.fall_silent()
    with pytest.raises(NoKeys):
        issuer.keys.get("old", "ES256")
    frozen = issuer.keys._read
    freeze(issuer, seconds)
    assert frozen
    assert frozen.done.wait(30)
    issuer.error = None
    assert issuer.keys.get("old", "ES256")
    assert (issuer.reads, warnings(caplog)) == (2, [])


def test_one_request_lets_a_frozen_read_end_and_reads_anew(issuer: Issuer) -> None:
    """The thread had no chance before: it is as the freeze left it."""
    issuer.fall_silent()
    with pytest.raises(NoKeys):
        issuer.keys.get("old", "ES256")
    issuer.now += 10
    issuer.errors = [TimeoutError("the time for all of it is over")]

    def wait(done: threading.Event, seconds: float) -> bool:
        issuer.open.set()
        return done.wait(30)

    issuer.keys._wait = wait
    assert issuer.keys.get("old", "ES256")
    assert issuer.reads == 2


def test_a_read_that_is_stuck_delays_one_request_more_and_is_replaced(
    issuer: Issuer,
) -> None:
    issuer.keys.get("old", "ES256")
    issuer.fall_silent()
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    issuer.keys.get("old", "ES256")
    stuck = issuer.keys._read
    issuer.now += bearer_tokens.LATE_SECONDS + 1
    issuer.waits.clear()
    for _ in range(10):
        assert issuer.keys.get("old", "ES256")
    assert (len(issuer.waits), issuer.reads) == (1, 2)
    issuer.now += bearer_tokens.FLOOR_SECONDS
    issuer.keys.get("old", "ES256")
    assert issuer.began.acquire(timeout=30)
    assert issuer.keys._read is not stuck
    issuer.settle()
    assert stuck
    assert stuck.done.wait(30)
    assert issuer.keys._keys.read_at == issuer.now


def test_a_thread_that_cannot_start_is_a_failed_read(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        for _ in range(3):
            with pytest.raises(NoKeys):
                issuer.keys.get("old", "ES256")
    assert warnings(caplog) == [
        "The issuer's keys cannot be read: can't start new thread"
    ]
    issuer.now += bearer_tokens.FLOOR_SECONDS
    assert issuer.keys.get("old", "ES256")


# Failures.


@pytest.mark.parametrize(
    "error",
    [OSError("refused"), ValueError("no JSON"), RecursionError("nested"), KeyError("x"),
     AttributeError("y"), MemoryError("z")],
)  # fmt: skip
def test_a_failure_is_logged_once_with_the_id_of_the_request_that_met_it(
    issuer: Issuer, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    issuer.error = error
    written: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(JSONFormatter())
    handler.emit = lambda record: written.append(handler.format(record))  # type: ignore[method-assign]
    bearer_tokens.logger.addHandler(handler)
    token = current.set(Measures("the-request"))
    try:
        for _ in range(20):
            with pytest.raises(NoKeys):
                issuer.keys.get("old", "ES256")
    finally:
        current.reset(token)
        bearer_tokens.logger.removeHandler(handler)
    (line,) = written
    assert json.loads(line)["request_id"] == "the-request"
    assert len(warnings(caplog)) == 1


GOOD = jwk(kid="good")


@pytest.mark.parametrize(
    "member",
    [None, 5, "x", [], {}, {"kty": 5}, jwk(kid=5), jwk(kid=["a"]), jwk(kid={}),
     jwk(kid="bad", x="!"), jwk(kid="bad", x=None), jwk(kid="bad", crv="P-999"),
     jwk(kid="bad", crv=[]), jwk(kid="bad", alg=[]), jwk(kid="bad", alg="XX999"),
     jwk(kid="bad", kty="nonsense"), jwk(RSA, kid="bad", n=...), jwk(kid="bad", key_ops=5),
     jwk(RSA, kid="bad", n="AQ", alg={})],
)  # fmt: skip
def test_a_malformed_member_harms_only_its_own_key(member: Any) -> None:
    for members in ([member, GOOD], [GOOD, member]):
        keys, refused = parse_keys({"keys": members}, 0.0)
        assert keys.match("good", "ES256")
        assert set(keys.named) == {"good"}
        assert len(refused) == 1


def test_a_malformed_member_is_logged_when_it_is_first_seen(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.members.append(jwk(kid="bad", crv="P-999"))
    for _ in range(3):
        assert issuer.keys.get("old", "ES256")
        issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    (line,) = warnings(caplog)
    assert line.startswith("A key of the issuer is left out: number 1: ")
    assert issuer.reads == 3


@pytest.mark.parametrize(
    "other",
    [{"use": "enc"}, {"use": ["sig"]}, {"key_ops": ["encrypt"]}, {"key_ops": []}],
)
def test_a_key_for_something_else_is_no_key_and_no_failure(
    other: dict[str, Any],
) -> None:
    keys, refused = parse_keys({"keys": [GOOD, jwk(RSA, kid="other", **other)]}, 0.0)
    assert (set(keys.named), refused) == ({"good"}, frozenset())


def test_a_key_for_verifying_is_one() -> None:
    keys, _ = parse_keys(
        {"keys": [jwk(kid="a", use=None, key_ops=["sign", "verify"])]}, 0.0
    )
    assert keys.match("a", "ES256")


# Which key.


def key_set(*members: dict[str, Any]) -> KeySet:
    return parse_keys({"keys": list(members)}, 0.0)[0]


def test_keys_without_a_name_work_when_only_one_fits() -> None:
    single = key_set(jwk(), jwk(RSA))
    assert single.match(None, "ES256")
    assert single.match(None, "PS256")
    assert single.match("any", "ES256")
    assert single.match(None, "EdDSA") is None
    several = key_set(jwk(), jwk(ec.generate_private_key(ec.SECP256R1())))
    assert several.match(None, "ES256") is None
    assert several.match("any", "ES256") is None


def test_a_token_without_a_name_means_the_only_key_that_fits() -> None:
    keys = key_set(jwk(kid="ec"), jwk(RSA, kid="rsa", alg="RS256"))
    assert keys.match(None, "RS256") == keys.named["rsa"]
    assert keys.match(None, "RS512") is None
    other = jwk(ec.generate_private_key(ec.SECP256R1()))
    assert key_set(jwk(kid="ec"), other).match(None, "ES256") is None


def test_an_unknown_name_is_looked_for_although_an_unnamed_key_fits(
    issuer: Issuer,
) -> None:
    """It may be new; among keys that all have no name it means nothing."""
    issuer.members = [jwk(kid="old"), jwk(RSA)]
    assert issuer.keys.get("new", "RS256") is not None
    issuer.now += bearer_tokens.FLOOR_SECONDS
    issuer.members = [jwk(kid="new"), jwk(RSA)]
    found = issuer.keys.get("new", "ES256")
    assert (issuer.reads, found is not None) == (2, True)
    issuer.members = [jwk(RSA)]
    issuer.now += bearer_tokens.LIFETIME_SECONDS + 1
    for _ in range(3):
        assert issuer.keys.get("whatever", "RS256")
        issuer.now += bearer_tokens.FLOOR_SECONDS
    assert issuer.reads == 3


# Where from.


@pytest.mark.parametrize(
    ("configured", "found", "refused"),
    [("http://issuer.example.com/keys", None, True), (None, "http://x.example.com/k", True),
     (None, "ftp://x.example.com/k", True), (None, None, True), (None, 5, True),
     (None, "https://x.example.com/k", False), ("https://x.example.com/k", None, False)],
)  # fmt: skip
def test_keys_of_an_https_issuer_come_by_https(
    settings: Any, monkeypatch: pytest.MonkeyPatch, configured: str | None, found: Any,
    refused: bool,
) -> None:  # fmt: skip
    settings.OIDC_ISSUER = "https://issuer.example.com"
    settings.OIDC_JWKS_URL = configured or ""
    asked: list[str] = []

    def read(url: str, _: Any) -> dict[str, Any]:
        asked.append(url)
        return {"issuer": settings.OIDC_ISSUER, "jwks_uri": found, "keys": []}

    monkeypatch.setattr(bearer_tokens, "read_json", read)
    if refused:
        with pytest.raises(ValueError, match="not an https URL"):
            bearer_tokens.read_keys()
    else:
        bearer_tokens.read_keys()
    assert all(url.startswith("https://") for url in asked)


def test_both_documents_share_one_deadline(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OIDC_ISSUER, settings.OIDC_JWKS_URL = "https://issuer.example.com", ""
    deadlines = []

    def read(url: str, deadline: Any) -> dict[str, Any]:
        deadlines.append(deadline)
        return {"issuer": settings.OIDC_ISSUER, "jwks_uri": "https://x.example.com"}

    monkeypatch.setattr(bearer_tokens, "read_json", read)
    bearer_tokens.read_keys()
    assert len(deadlines) == 2
    assert deadlines[0] is deadlines[1]
