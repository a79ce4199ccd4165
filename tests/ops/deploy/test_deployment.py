import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from ops.aws import AwsError
from ops.deploy import deployment, function, preflight
from ops.deploy.deployment import LISTED, Deployment, StepFailed
from ops.deploy.function import Function
from ops.deploy.options import Options
from ops.ownership import NotReady
from ops.topology import PRIMARY, SECONDARY, Topology
from tests.ops.account import Account

REQUIRE_SOUND = preflight.require_sound
OIDC = {
    "API_AUTH": "oidc", "OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "api",
    "API_TOKEN": "t0ken",
}  # fmt: skip
RUNTIME = "python{}.{}".format(*sys.version_info)
SETTINGS = {"MemorySize": 512, "Environment": {"Variables": OIDC}}


class Recorded(Deployment):
    """Writes the lines down; ``broken`` are those that end with an error."""

    def __init__(
        self, broken: Sequence[str] = (), access: Mapping[str, str] = OIDC
    ) -> None:
        super().__init__(
            Topology.from_environment({}),
            Options.from_environment({**access, "LAMBDA_RUNTIME": RUNTIME}),
            lambda _: None,
            lambda _: None,
        )
        self.broken = broken
        self.lines: list[str] = []
        self.versions = {PRIMARY: 3, SECONDARY: 7}
        self.states = dict.fromkeys((PRIMARY, SECONDARY), function.COMPLETE)
        self.settings: dict[str, Mapping[str, Any]] = {
            PRIMARY: SETTINGS, SECONDARY: SETTINGS
        }  # fmt: skip

    def _require_ours(self) -> None:
        self.lines.append("look whose it is")

    def _run(self, command: Sequence[str], name: str, arguments: Sequence[str]) -> None:
        line = " ".join([name, *arguments])
        self.lines.append(line)
        if line in self.broken:
            raise StepFailed(f"`{line}` ended with 1.")
        if line.startswith("zappa deploy"):
            role = PRIMARY if "primary" in line else SECONDARY
            self.versions[role] += 1
            self.settings[role] = {"MemorySize": 128}
            self.states[role] = function.COMPLETE

    def _url(self, role: str) -> str:
        self.lines.append(f"url {role}")
        return f"https://{role}"


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each URL answers."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_DSQL", raising=False)
    monkeypatch.setattr(preflight, "require_sound", lambda *_: None)
    monkeypatch.setattr(preflight, "refusal", lambda *_: "")
    found = {
        f"https://{role}{path}": status
        for role in (PRIMARY, SECONDARY)
        for path, status in (("/health", "200"), (LISTED, "401"))
    }
    monkeypatch.setattr(deployment, "_get", found.__getitem__)
    return found


def run(found: Recorded, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    def restore(self: Function, settings: Mapping[str, Any]) -> None:
        found.settings[self.role] = settings

    monkeypatch.setattr(
        Function, "latest_version", lambda self: found.versions[self.role]
    )
    monkeypatch.setattr(Function, "state", lambda self: found.states[self.role])
    monkeypatch.setattr(Function, "settings", lambda self: found.settings[self.role])
    monkeypatch.setattr(
        Function, "contents",
        lambda self: [] if found.states[self.role] == function.ABSENT else ["it"],
    )  # fmt: skip
    monkeypatch.setattr(Function, "restore", restore)
    found.deploy()
    return found


def test_the_steps_come_in_the_order_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = run(Recorded(), monkeypatch)
    assert [line for line in found.lines if not line.startswith("url")] == [
        "look whose it is",
        "manage.py dsql_provision",
        "manage.py stack deploy --role primary",
        "manage.py stack deploy --role secondary",
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
    with pytest.raises(StepFailed, match="responds 503"):
        run(found, monkeypatch)
    assert "zappa deploy secondary" not in found.lines
    assert "zappa rollback primary -n 1" in found.lines


def test_both_regions_are_put_back_when_the_second_fails(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    found = Recorded()
    gone_wrong = iter(["502"] * deployment.SMOKE_ATTEMPTS)
    monkeypatch.setattr(
        deployment,
        "_get",
        lambda url: (
            next(gone_wrong, answers[url]) if "secondary" in url else answers[url]
        ),
    )
    with pytest.raises(
        StepFailed, match=r"responds 502.*secondary is as.*primary is as"
    ):
        run(found, monkeypatch)
    assert [line for line in found.lines if "rollback" in line] == [
        "zappa rollback secondary -n 1",
        "zappa rollback primary -n 1",
    ]
    assert all(kept == SETTINGS for kept in found.settings.values())


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


def test_only_the_function_is_removed_where_its_api_had_been_there(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    answers["https://primary/health"] = "502"
    found = Recorded()
    found.states[PRIMARY] = function.API_ONLY
    removed: list[str] = []
    monkeypatch.setattr(
        Function, "remove_without_api", lambda self: removed.append(self.role)
    )
    with pytest.raises(StepFailed, match="primary is as it was before"):
        run(found, monkeypatch)
    assert removed == [PRIMARY]
    assert not any("undeploy" in line for line in found.lines)


@pytest.mark.parametrize(
    ("access", "answer", "expected"),
    [(OIDC, "200", "401"), (OIDC, "503", "401"), ({"API_AUTH": "none"}, "401", "200")],
)
def test_what_lets_in_others_than_were_chosen_is_put_back(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str],
    access: Mapping[str, str], answer: str, expected: str,
) -> None:  # fmt: skip
    gone_wrong = iter([answer] * deployment.SMOKE_ATTEMPTS)
    monkeypatch.setattr(
        deployment, "_get",
        lambda url: next(gone_wrong, "401") if LISTED in url else answers[url],
    )  # fmt: skip
    found = Recorded(access=access)
    with pytest.raises(
        StepFailed,
        match=f"users.limit=1 responds {answer}, not {expected}.*primary is as it was",
    ):
        run(found, monkeypatch)
    assert "zappa deploy secondary" not in found.lines


def test_a_region_put_back_is_asked_by_the_choice_that_it_had(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    """The one before let everyone in; what failed asks for tokens."""
    answers["https://secondary/health"] = "502"
    found = Recorded()
    before = {"Environment": {"Variables": {"API_AUTH": "none"}}}
    found.settings[PRIMARY] = before
    asked = iter(["401", "200"])
    monkeypatch.setattr(
        deployment, "_get",
        lambda url: next(asked) if url == f"https://primary{LISTED}" else answers[url],
    )  # fmt: skip
    with pytest.raises(StepFailed, match="primary is as it was before"):
        run(found, monkeypatch)


def test_nothing_begins_before_it_is_chosen_who_may_call() -> None:
    found = Recorded(access={})
    with pytest.raises(ImproperlyConfigured, match="API_AUTH is not set"):
        found.deploy()
    assert found.lines == []


def test_nothing_begins_while_the_settings_are_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "require_sound", REQUIRE_SOUND)
    found = Recorded(access={**OIDC, "OIDC_ISSUER": "http://issuer.example"})
    with pytest.raises(ImproperlyConfigured, match="OIDC_ISSUER is 'http://issuer"):
        found.deploy()
    assert found.lines == []


def test_nothing_begins_before_it_is_confirmed() -> None:
    found = Recorded()

    def refuse() -> None:
        raise StepFailed("not confirmed")

    with pytest.raises(StepFailed, match="not confirmed"):
        found.deploy(refuse)
    assert found.lines == ["look whose it is"]


def test_a_deployment_and_its_end_leave_nothing(account: Account) -> None:
    account.manage("deploy --yes --access none")
    assert account.lines == [
        "manage.py dsql_provision",
        "manage.py stack deploy --role primary",
        "manage.py stack deploy --role secondary",
        "manage.py dsql_database",
        "zappa deploy primary",
        "zappa deploy secondary",
        *(line for line in account.lines if "dsql_verify" in line),
    ]
    account.lines.clear()
    account.manage("destroy --yes")
    assert account.lines == [
        "zappa undeploy secondary --yes",
        "zappa undeploy primary --yes",
        "manage.py stack delete --role secondary --yes",
        "manage.py stack delete --role primary --yes",
        "manage.py dsql_destroy --yes --prefix shop",
    ]
    assert account.left() == []


def test_a_step_of_zappas_that_does_not_end_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: Sequence[str], timeout: float | None, **_: Any) -> Any:
        if timeout is not None:
            raise subprocess.TimeoutExpired(command, timeout)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    found = Deployment(
        Topology.from_environment({}), Options.from_environment(OIDC), lambda _: None
    )
    with pytest.raises(
        StepFailed, match=r"`zappa deploy primary` did not end in 960 s\."
    ):
        found._zappa("deploy", "primary")
    found._manage("dsql_database")  # an index may take as long as it takes


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "API_TOKEN is not set"),
        ("old", "API_TOKEN would be refused: It has expired."),
    ],
)
def test_nothing_begins_without_a_token_that_the_apis_will_take(
    monkeypatch: pytest.MonkeyPatch, token: str, says: str
) -> None:
    monkeypatch.setattr(preflight, "refusal", lambda *_: "It has expired.")
    found = Recorded(access={**OIDC, "API_TOKEN": token})
    with pytest.raises(ImproperlyConfigured, match=says):
        found.deploy()
    assert found.lines == []


def test_a_token_that_expires_meanwhile_fails_no_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals = iter(["", "It has expired."])
    monkeypatch.setattr(preflight, "refusal", lambda *_: next(refusals))
    said: list[str] = []
    found = Recorded()
    found.say = said.append
    run(found, monkeypatch)
    assert found.lines[-1].endswith(
        "--api-url=secondary=https://secondary --api-token="
    )
    (line,) = [line for line in said if "API_TOKEN" in line]
    assert "no longer accepted: It has expired." in line
    assert "dsql_verify" in line


def test_where_everyone_is_let_in_no_token_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    for role in (PRIMARY, SECONDARY):
        answers[f"https://{role}{LISTED}"] = "200"
    monkeypatch.setattr(
        preflight, "refusal", lambda *_: pytest.fail("it was looked at")
    )
    assert (
        "dsql_verify"
        in run(Recorded(access={"API_AUTH": "none"}), monkeypatch).lines[-1]
    )


def test_without_a_python_of_the_functions_version_nothing_is_begun() -> None:
    def stop() -> None:
        raise StepFailed("asked")

    deployment = Recorded(access={"API_AUTH": "none"})
    deployment.options = replace(deployment.options, runtime="python3.99")
    with pytest.raises(NotReady, match=r"No Python 3\.99 runs here"):
        deployment.deploy(stop)
    assert deployment.lines == []
    deployment.options = replace(deployment.options, bytecode=False)
    with pytest.raises(StepFailed, match="asked"):
        deployment.deploy(stop)
