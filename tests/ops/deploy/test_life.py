from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

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
        self.variables: dict[str, Mapping[str, str]] = {
            PRIMARY: {"API_AUTH": "oidc"}, SECONDARY: {"API_AUTH": "oidc"}
        }  # fmt: skip

    def _run(self, command: Sequence[str], name: str, arguments: Sequence[str]) -> None:
        line = " ".join([name, *arguments])
        self.lines.append(line)
        if line in self.broken:
            raise StepFailed(f"`{line}` ended with 1.")
        if line.startswith("zappa deploy"):
            region = PRIMARY if "primary" in line else SECONDARY
            self.versions[region] += 1
            self.variables[region] = {"API_AUTH": "none"}

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
    def put(region: str, _: str, variables: Mapping[str, str]) -> None:
        found.variables[region] = variables

    monkeypatch.setattr(function, "version", lambda region, _: found.versions[region])
    monkeypatch.setattr(function, "state", lambda *_: function.COMPLETE)
    monkeypatch.setattr(
        function, "variables", lambda region, _: found.variables[region]
    )
    monkeypatch.setattr(function, "set_variables", put)
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
        "manage.py dsql_verify --api-url=primary=https://primary "
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
    assert found.lines[-1] == "zappa rollback primary -n 1"


def test_both_regions_are_put_back_when_the_second_fails(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    answers["https://secondary/health"] = "502"
    found = Recorded()
    with pytest.raises(StepFailed, match="what they served before"):
        run(found, monkeypatch)
    assert found.lines[-2:] == [
        "zappa rollback secondary -n 1",
        "zappa rollback primary -n 1",
    ]
    assert set(map(str, found.variables.values())) == {"{'API_AUTH': 'oidc'}"}


def test_nothing_is_rolled_back_where_no_version_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Recorded(broken=["zappa deploy secondary"])
    with pytest.raises(StepFailed):
        run(found, monkeypatch)
    assert found.lines[-1] == "zappa rollback primary -n 1"


def test_a_first_deployment_that_fails_is_removed(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    answers["https://secondary/health"] = "502"
    found = Recorded()
    found.versions = {PRIMARY: 0, SECONDARY: 0}
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
        "manage.py dsql_destroy --yes --target multi-region-app",
    ]


def test_nothing_begins_before_it_is_chosen_who_may_call() -> None:
    found = Recorded(access="")
    with pytest.raises(ImproperlyConfigured, match="API_AUTH is not set"):
        found.deploy()
    assert found.lines == []


def test_clusters_of_a_sandbox_and_stacks_of_aws_are_not_one_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DSQL", "http://127.0.0.1:5432")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    found: Any = Recorded()
    for act in (found.deploy, found.destroy):
        with pytest.raises(StepFailed, match="AWS_ENDPOINT_URL_DSQL"):
            act()
    assert found.lines == []
