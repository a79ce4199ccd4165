"""One command replaces the key, and no Region ever refuses what the other signed."""

from collections.abc import Mapping

import pytest

from config import env
from ops.deploy import rotation
from ops.deploy.function import Function
from ops.ownership import NotReady
from ops.stacks import secret
from ops.stacks.secret import DjangoKey
from ops.topology import Topology

OLD = DjangoKey("old", ("older",))
TOPOLOGY = Topology.from_environment({})
REGIONS = tuple(TOPOLOGY.regions.values())


class Interrupted(Exception):
    pass


class Account:
    """Both functions and both copies of the secret; every change is looked at."""

    def __init__(self, *, secondary: bool = True, copies_after: int = 0) -> None:
        deployed = REGIONS if secondary else REGIONS[:1]
        self.functions = {
            region: {"API_AUTH": "oidc", **OLD.variables()} for region in deployed
        }
        self.secrets = dict.fromkeys(REGIONS, OLD)
        self.copies_after = copies_after  # looks at the copy
        self.changes = 0
        self.stop_after = 1000

    def variables(self, function: Function) -> dict[str, str] | None:
        found = self.functions.get(function.region)
        return None if found is None else dict(found)

    def add_variables(self, function: Function, more: Mapping[str, str]) -> None:
        if function.region in self.functions:
            self.functions[function.region].update(more)
            self._changed()

    def read(self, topology: Topology, role: str) -> DjangoKey:
        if role == "secondary" and self.secrets[REGIONS[1]] != self.secrets[REGIONS[0]]:
            self.copies_after -= 1
            if self.copies_after < 0:
                self.secrets[REGIONS[1]] = self.secrets[REGIONS[0]]
        return self.secrets[topology.regions[role]]

    def write(self, topology: Topology, key: DjangoKey) -> None:
        self.secrets[REGIONS[0]] = key
        self._changed()

    def _changed(self) -> None:
        signing = [found["DJANGO_SECRET_KEY"] for found in self.functions.values()]
        for found in self.functions.values():
            fallbacks = env.words("DJANGO_SECRET_KEY_FALLBACKS", env=found)
            assert set(signing) <= {found["DJANGO_SECRET_KEY"], *fallbacks}
        self.changes += 1
        if self.changes == self.stop_after:
            raise Interrupted

    def assert_rotated(self) -> None:
        key = self.secrets[REGIONS[0]]
        assert key.key not in {"old", "older"}
        for found in self.functions.values():
            assert found == {"API_AUTH": "oidc", **key.variables()}


TOPOLOGY_ROLES = {region: role for role, region in TOPOLOGY.regions.items()}


def rotate(
    account: Account, monkeypatch: pytest.MonkeyPatch, pauses: list[float] | None = None
) -> list[str]:
    monkeypatch.setattr(Function, "variables", lambda self: account.variables(self))
    monkeypatch.setattr(
        Function, "add_variables", lambda self, more: account.add_variables(self, more)
    )
    for name in ("read", "write"):
        monkeypatch.setattr(secret, name, getattr(account, name))
    said: list[str] = []
    pauses = [] if pauses is None else pauses
    rotation.rotate(TOPOLOGY, said.append, pauses.append)
    return said


def test_one_run_replaces_the_key_everywhere_with_the_old_one_as_fallback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account()
    rotate(account, monkeypatch)
    account.assert_rotated()
    assert account.secrets[REGIONS[0]].fallbacks == ("old",)
    assert account.changes == 5  # each accepts, the secret, each signs


def test_a_second_rotation_ends_the_first_ones_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account()
    rotate(account, monkeypatch)
    first = account.secrets[REGIONS[0]].key
    rotate(account, monkeypatch)
    account.assert_rotated()
    assert account.secrets[REGIONS[0]].fallbacks == (first,)


@pytest.mark.parametrize("stop_after", range(1, 6))
def test_a_run_that_was_interrupted_is_completed_by_the_next(
    monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    account = Account()
    account.stop_after = stop_after
    with pytest.raises(Interrupted):
        rotate(account, monkeypatch)
    written = account.secrets[REGIONS[0]]
    account.stop_after = 1000
    said = rotate(account, monkeypatch)
    account.assert_rotated()
    if stop_after in {3, 4}:  # the secret was written, a function still lags
        assert account.secrets[REGIONS[0]] == written
        assert "Completing the rotation that was interrupted ..." in said


def test_a_region_that_is_not_deployed_yet_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account(secondary=False)
    rotate(account, monkeypatch)
    account.assert_rotated()


def test_the_copy_of_the_secret_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    account, pauses = Account(copies_after=2), list[float]()
    rotate(account, monkeypatch, pauses)
    account.assert_rotated()
    assert pauses == [rotation.COPY_PAUSE] * 2


def test_a_copy_that_does_not_come_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account(copies_after=1000)
    with pytest.raises(NotReady, match="us-east-2: Secrets Manager has not copied"):
        rotate(account, monkeypatch)
    account.copies_after = 0
    rotate(account, monkeypatch)
    account.assert_rotated()
