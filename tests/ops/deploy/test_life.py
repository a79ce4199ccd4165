from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from ops.aws import AwsError
from ops.deploy import function, life
from ops.deploy.life import Life, StepFailed
from ops.deploy.options import Options
from ops.topology import Topology

PRIMARY, SECONDARY = "us-east-1", "us-east-2"


class Recorded(Life):
    """Writes the lines down; ``broken`` are those that end with an error."""

    def __init__(
        self, broken: Sequence[str] = (), sick: Sequence[str] = (), access: str = "oidc"
    ) -> None:
        super().__init__(
            Topology.from_environment({}),
            Options.from_environment({"API_AUTH": access} if access else {}),
            lambda _: None,
            lambda _: None,
        )
        self.broken, self.sick = broken, sick
        self.lines: list[str] = []
        self.versions = {PRIMARY: 3, SECONDARY: 7}
        self.states = dict.fromkeys((PRIMARY, SECONDARY), function.COMPLETE)
        self.settings: dict[str, Mapping[str, Any]] = {
            PRIMARY: {"MemorySize": 512}, SECONDARY: {"MemorySize": 512}
        }  # fmt: skip

    def _run(self, command: Sequence[str], name: str, arguments: Sequence[str]) -> None:
        line = " ".join([name, *arguments])
        self.lines.append(line)
        if line in self.broken:
            raise StepFailed(f"`{line}` ended with 1.")
        if line.startswith("zappa deploy"):
            region = PRIMARY if "primary" in line else SECONDARY
            self.versions[region] += 1
            self.settings[region] = {"MemorySize": 128}
            self.states[region] = function.COMPLETE

    def _url(self, stage: str) -> str:
        self.lines.append(f"url {stage}")
        return f"https://{stage}"


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What /health of each URL answers."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_DSQL", raising=False)
    found = {"https://primary/health": "200", "https://secondary/health": "200"}
    monkeypatch.setattr(life, "_get", found.__getitem__)
    return found


def run(found: Recorded, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    def restore(region: str, _: str, kept: Mapping[str, Any]) -> None:
        found.settings[region] = kept

    monkeypatch.setattr(function, "version", lambda region, _: found.versions[region])
    monkeypatch.setattr(function, "state", lambda region, _: found.states[region])
    monkeypatch.setattr(function, "settings", lambda region, _: found.settings[region])
    monkeypatch.setattr(function, "restore", restore)
    found.deploy()
    return found


def test_the_steps_come_in_the_order_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = run(Recorded(), monkeypatch)
    assert [line for line in found.lines if not line.startswith("url")] == [
        "manage.py dsql_provision",
        "manage.py stack deploy --stage primary",
        "manage.py stack deploy --stage secondary",
        "manage.py dsql_database",
        "zappa deploy primary",
        "zappa deploy secondary",
        "manage.py dsql_verify --yes --api-url=primary=https://primary "
        "--api-url=secondary=https://secondary",
    ]


def test_the_second_region_is_not_touched_while_the_first_does_not_serve(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    answers["https://primary/health"] = "503"
    found = Recorded()
    with pytest.raises(StepFailed, match="answers 503"):
        run(found, monkeypatch)
    assert "zappa deploy secondary" not in found.lines
    assert "zappa rollback primary -n 1" in found.lines


def test_both_regions_are_put_back_when_the_second_fails(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    found = Recorded()
    gone_wrong = iter(["502"] * life.SMOKE_ATTEMPTS)
    monkeypatch.setattr(
        life,
        "_get",
        lambda url: next(gone_wrong, "200") if "secondary" in url else answers[url],
    )
    with pytest.raises(
        StepFailed, match=r"answers 502.*secondary is as.*primary is as"
    ):
        run(found, monkeypatch)
    assert [line for line in found.lines if "rollback" in line] == [
        "zappa rollback secondary -n 1",
        "zappa rollback primary -n 1",
    ]
    assert set(map(str, found.settings.values())) == {"{'MemorySize': 512}"}


def test_one_region_is_put_back_though_the_other_cannot_be(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    answers["https://secondary/health"] = "502"
    found = Recorded(broken=["zappa rollback secondary -n 1"])
    with pytest.raises(
        StepFailed, match=r"secondary could not be put back: .* primary is as it was"
    ):
        run(found, monkeypatch)
    assert "zappa rollback primary -n 1" in found.lines


@pytest.mark.parametrize("error", [AwsError("expired"), KeyboardInterrupt()])
def test_whatever_ends_a_deployment_both_are_put_back(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    found = Recorded()
    deploy = found._zappa

    def fail(*arguments: str) -> None:
        deploy(*arguments)
        if arguments == ("deploy", "secondary"):
            raise error

    monkeypatch.setattr(found, "_zappa", fail)
    with pytest.raises(StepFailed, match="primary is as it was before"):
        run(found, monkeypatch)
    assert "zappa rollback secondary -n 1" in found.lines


def test_nothing_is_rolled_back_where_no_version_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Recorded(broken=["zappa deploy secondary"])
    with pytest.raises(StepFailed):
        run(found, monkeypatch)
    rolled = [line for line in found.lines if "rollback" in line]
    assert rolled == ["zappa rollback primary -n 1"]


def test_a_first_deployment_that_fails_is_removed(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    answers["https://secondary/health"] = "502"
    found = Recorded()
    found.versions = {PRIMARY: 0, SECONDARY: 0}
    found.states = dict.fromkeys(found.states, function.ABSENT)
    with pytest.raises(StepFailed):
        run(found, monkeypatch)
    assert found.lines[-2:] == [
        "zappa undeploy secondary --yes",
        "zappa undeploy primary --yes",
    ]


def test_destroying_takes_the_functions_first_and_the_clusters_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = {PRIMARY: function.COMPLETE, SECONDARY: function.ABSENT}
    monkeypatch.setattr(function, "state", lambda region, _: states[region])
    found = Recorded()
    monkeypatch.setattr(found, "_say_what_remains", lambda: None)
    found.destroy()
    assert found.lines == [
        "zappa undeploy primary --yes",
        "manage.py stack delete --stage secondary --yes",
        "manage.py stack delete --stage primary --yes",
        "manage.py dsql_destroy --yes --prefix multi-region-app",
    ]


def test_nothing_begins_before_it_is_chosen_who_may_call() -> None:
    found = Recorded(access="")
    with pytest.raises(ImproperlyConfigured, match="API_AUTH is not set"):
        found.deploy()
    assert found.lines == []
