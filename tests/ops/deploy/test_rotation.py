"""A step of the rotation waits until the one before it has arrived everywhere."""

from collections.abc import Mapping

import pytest

from ops.deploy import function, rotation
from ops.deploy.found import NotReady
from ops.stacks import secret
from ops.stacks.secret import DjangoKey
from ops.topology import Topology

OLD, NEXT = DjangoKey("old"), DjangoKey("old", ("new",))


def require(
    monkeypatch: pytest.MonkeyPatch,
    secrets: Mapping[str, DjangoKey],
    functions: Mapping[str, DjangoKey | None],
) -> DjangoKey:
    def variables(region: str, name: str) -> dict[str, str] | None:
        key = functions[name.removeprefix("multi-region-app-")]
        return None if key is None else {"API_AUTH": "oidc", **key.variables()}

    monkeypatch.setattr(secret, "read", lambda _, stage: secrets[stage])
    monkeypatch.setattr(function, "variables", variables)
    return rotation.require_in_step(Topology.from_environment({}))


def both(key: DjangoKey) -> dict[str, DjangoKey]:
    return {"primary": key, "secondary": key}


@pytest.mark.parametrize("functions", [both(OLD), {"primary": OLD, "secondary": None}])
def test_a_step_follows_when_every_function_has_the_last(
    monkeypatch: pytest.MonkeyPatch, functions: Mapping[str, DjangoKey | None]
) -> None:
    assert require(monkeypatch, both(OLD), functions) == OLD


def test_a_function_that_lags_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NotReady, match="Run `zappa update secondary`"):
        require(monkeypatch, both(NEXT), {"primary": NEXT, "secondary": OLD})


def test_a_copy_that_lags_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotReady, match="us-east-2: Secrets Manager has not copied"):
        require(monkeypatch, {"primary": NEXT, "secondary": OLD}, both(NEXT))
