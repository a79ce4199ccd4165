"""Ready means that both endpoints let somebody in: when, how long, and what else is said."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import OperationalError, connections

from config.dsql.credentials import CredentialsUnavailable
from ops.clusters import login
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.control import EAST, OHIO, World
from tests.ops.clusters.commands import failure, provision

UNRESOLVED = "failed to resolve host 'x': [Errno -2] Name or service not known"
WAKING = "FATAL:  unable to accept connection, waking up cluster, please retry later"
DENIED = "FATAL:  unable to accept connection, access denied\nHINT:  Wrong user"
SILENT = "No response of the server in 3.0 s."
Meet = Callable[[str, str, float], None]


@pytest.fixture
def meet(world: World, monkeypatch: pytest.MonkeyPatch) -> Meet:
    """Logins in that Region fail with a text for so many seconds from now on."""
    until: dict[str, tuple[str, float]] = {}

    def log_in(endpoint: str, seconds: float) -> None:
        assert 0 < seconds <= 120
        text, end = until.get(endpoint.split(".")[2], ("", 0.0))
        if world.now < end:
            raise OperationalError(text)

    def add(region: str, text: str, seconds: float) -> None:
        until[region] = text, world.now + seconds

    monkeypatch.setattr(login, "log_in", log_in)
    return add


@pytest.mark.parametrize("region", [EAST, OHIO])
@pytest.mark.parametrize("text", [UNRESOLVED, WAKING, SILENT])
def test_an_endpoint_that_accepts_no_login_yet_is_waited_for(
    meet: Meet, region: str, text: str
) -> None:
    meet(region, text, 100.0)
    said = provision().splitlines()
    waits = [line for line in said if "accepts no login yet" in line]
    assert len(waits) == 1
    assert waits[0].startswith(f"{region}: ")
    assert " ".join(text.split()) in waits[0]
    accepted = [line for line in said if line.endswith("accepts logins")]
    assert [line.partition(":")[0] for line in accepted] == [EAST, OHIO]
    assert said[-1] == "Ready. Next: manage.py dsql_database"


def test_a_new_reason_to_wait_is_said(
    world: World, meet: Meet, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = iter([UNRESOLVED, UNRESOLVED, SILENT, WAKING])

    def log_in(endpoint: str, seconds: float) -> None:
        if text := next(texts, ""):
            raise OperationalError(text)

    monkeypatch.setattr(login, "log_in", log_in)
    assert provision().count("accepts no login yet") == 3


def test_patience_ends_after_120_seconds_and_the_next_run_goes_on(
    world: World, meet: Meet
) -> None:
    provision()
    meet(OHIO, SILENT, 10_000.0)
    begun = world.now
    said = failure(provision)
    assert 110 < world.now - begun <= 120
    first, hint, last = said.splitlines()
    assert first.startswith(f"{OHIO}: ")
    assert "accepted no login in 120 s: No response of the server" in first
    assert "port 5432" in hint
    assert last == "To continue: manage.py dsql_provision"
    meet(OHIO, "", 0.0)
    assert "Ready." in provision()


def test_a_login_that_is_denied_is_not_waited_for(world: World, meet: Meet) -> None:
    provision()
    meet(EAST, DENIED, 10_000.0)
    begun = world.now
    said = failure(provision)
    assert world.now == begun
    assert (
        "refuses the login: FATAL: unable to accept connection, access denied" in said
    )
    assert "Check the credentials and the permission dsql:DbConnectAdmin." in said


def test_missing_credentials_are_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_in(endpoint: str, seconds: float) -> None:
        raise CredentialsUnavailable("No AWS credentials to sign a DSQL token with.")

    monkeypatch.setattr(login, "log_in", log_in)
    begun = world.now
    assert "No AWS credentials to sign a DSQL token with." in failure(provision)
    assert world.now - begun < 60


def test_ctrl_c_while_a_login_is_awaited_says_what_to_run_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_in(endpoint: str, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(login, "log_in", log_in)
    with pytest.raises(CommandError) as caught:
        provision()
    assert caught.value.returncode == 130
    assert str(caught.value).splitlines() == [
        "Interrupted.",
        "All steps are done, but not every endpoint has accepted a login.",
        "To continue: manage.py dsql_provision",
    ]


def test_a_dry_run_logs_in_nowhere(meet: Meet) -> None:
    meet(EAST, DENIED, 10_000.0)
    assert "Ready" not in provision("--dry-run")


def test_the_second_run_is_ready_too(meet: Meet) -> None:
    provision()
    said = provision()
    assert "Nothing to change: the clusters are as configured." in said
    assert said.splitlines()[-1] == "Ready. Next: manage.py dsql_database"


def test_a_login_is_a_connection_that_is_closed_again(
    sandbox: lifecycle.Status, faults: FaultClient, django_db_blocker: Any
) -> None:
    with django_db_blocker.unblock():
        for region in sandbox.regions:
            login.log_in(region.endpoint, 10.0)
            assert f"admin@{region.endpoint}" not in connections.databases
        faults.add("revoked-credentials", region=OHIO)
        with pytest.raises(OperationalError, match="access denied"):
            login.log_in(sandbox.regions[1].endpoint, 10.0)
