from collections.abc import Callable

import pytest
from moto.apigateway.responses import APIGatewayResponse

from ops import aws
from tests.ops.account import EAST, OHIO, TOPOLOGY, Account
from tests.ops.conftest import account as account
from tests.rehearsal.quotas import Quotas


class Clock:
    """Goes on by what is slept alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("method", "path", "seconds"),
    [
        ("POST", "/restapis/a/deployments", 5),
        ("POST", "/restapis", 3),
        ("DELETE", "/restapis/a", 30),
        ("PATCH", "/account", 20),
    ],
)
def test_a_call_comes_again_after_its_time_in_each_region(
    method: str, path: str, seconds: float
) -> None:
    clock = Clock()
    quotas = Quotas(clock)
    assert quotas.allow(EAST, method, path)
    assert quotas.allow(OHIO, method, path)
    clock.sleep(seconds - 0.1)
    assert not quotas.allow(EAST, method, path)
    clock.sleep(0.2)
    assert quotas.allow(EAST, method, path)


def test_all_calls_together_have_a_quota_too() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    assert [quotas.allow(EAST, "GET", "/restapis") for _ in range(41)].count(True) == 40
    clock.sleep(0.1)
    assert quotas.allow(EAST, "GET", "/account")


@pytest.mark.slow
def test_a_deployment_goes_on_through_the_quotas(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    quotas = Quotas(clock)
    monkeypatch.setattr("time.sleep", clock.sleep)
    monkeypatch.setattr(
        APIGatewayResponse, "call_action", quotas.over(APIGatewayResponse.call_action)
    )
    account.make_stacks()
    account.zappa("deploy --all")
    account.zappa("update --all")
    assert quotas.refused.count("CreateDeployment") >= len(TOPOLOGY.regions)
    account.zappa("undeploy --all --yes")


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [aws.client, lambda s, r: aws.make_session(r).client(s)]
)
def test_the_longest_quota_is_waited_for(
    make: Callable[..., object],
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    quotas = Quotas(clock)
    client = make("apigateway", EAST)
    ids = [client.create_rest_api(name=name)["id"] for name in "ab"]  # type: ignore[attr-defined]
    monkeypatch.setattr("time.sleep", clock.sleep)
    monkeypatch.setattr("random.random", lambda: 0.5)
    monkeypatch.setattr(
        APIGatewayResponse, "call_action", quotas.over(APIGatewayResponse.call_action)
    )
    for each in ids:
        client.delete_rest_api(restApiId=each)  # type: ignore[attr-defined]
    assert set(quotas.refused) == {"DeleteRestApi"}
    assert clock.now >= 30
