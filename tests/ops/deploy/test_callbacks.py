import sys
from typing import Any

import pytest

from ops.deploy import callbacks, function, wanted
from ops.deploy.found import NotReady


class Cli:
    """The part of Zappa's command object that the callback may touch."""

    def __init__(self, command: str, stage: str = "primary") -> None:
        self.command, self.api_stage = command, stage
        self.load_credentials = command != "package"
        self.vargs = {"settings_file": None}
        self.aws_region, self.lambda_name = "us-east-1", f"multi-region-app-{stage}"
        self.told: dict[str, Any] = {}
        self.session: Any = "not loaded"
        self.updated = False

    def override_stage_config_setting(self, name: str, value: Any) -> None:
        self.told[name] = value

    def load_settings(self, settings_file: str | None, session: Any) -> None:
        self.session = session

    def update(self) -> None:
        self.updated = True


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PRIMARY_REGION", "SECONDARY_REGION", "WITNESS_REGION", "CLUSTER_NAME_PREFIX",
        "LAMBDA_MEMORY_SIZE", "LAMBDA_TIMEOUT", "API_GATEWAY_STAGE", "AWS_PROFILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", "another")
    monkeypatch.setenv("API_AUTH", "oidc")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An account in which everything is ready; tests change the function's state."""
    seen: dict[str, Any] = {"state": function.ABSENT, "removed": [], "schema": 0}

    def checked(*_: Any) -> None:
        seen["schema"] += 1

    monkeypatch.setattr(wanted, "require_current_schema", checked)
    told = {"role_arn": "arn", "aws_environment_variables": {"API_AUTH": "oidc"}}
    monkeypatch.setattr(wanted, "deployed", lambda *_: told)
    monkeypatch.setattr(function, "keep_variables", lambda *a: seen.update(kept=a[2]))
    monkeypatch.setattr(function, "state", lambda *_: seen["state"])
    monkeypatch.setattr(function, "remove", lambda *a: seen["removed"].append(a))
    return seen


def test_a_package_needs_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDARY_REGION", "us-west-1")
    monkeypatch.setenv("LAMBDA_MEMORY_SIZE", "1024")
    monkeypatch.setenv("LAMBDA_TIMEOUT", "29")
    cli = Cli("package", "secondary")
    callbacks.settings(cli)
    assert cli.session is None
    assert cli.told["aws_region"] == "us-west-1"
    assert (cli.told["memory_size"], cli.told["timeout_seconds"]) == (1024, 29)
    assert cli.told["tags"]["Role"] == "secondary"


def test_whatever_environment_is_active_zappa_runs_in_its_own() -> None:
    callbacks.settings(Cli("package"))
    assert callbacks.os.environ["VIRTUAL_ENV"] == sys.prefix


def test_the_session_is_of_the_topologys_region(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zappa lets AWS_DEFAULT_REGION win, and splits the deployment over two Regions."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    cli = Cli("deploy", "secondary")
    callbacks.settings(cli)
    assert cli.session.region_name == "us-east-2"
    assert account["schema"] == 1


@pytest.mark.parametrize("command", ["undeploy", "status", "rollback", "tail"])
def test_other_commands_ask_nothing_of_the_account(
    account: dict[str, Any], command: str
) -> None:
    cli = Cli(command)
    callbacks.settings(cli)
    assert account["schema"] == 0
    assert cli.session.region_name == "us-east-1"


@pytest.mark.parametrize("command", ["deploy", "update"])
def test_who_may_call_must_be_chosen(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("API_AUTH")
    with pytest.raises(SystemExit, match=r"API_AUTH is not set\. Choose who may call"):
        callbacks.settings(Cli(command))
    assert account["schema"] == 0


def test_a_second_deploy_is_an_update(account: dict[str, Any]) -> None:
    account["state"] = function.COMPLETE
    cli = Cli("deploy")
    with pytest.raises(SystemExit) as ended:
        callbacks.settings(cli)
    assert (ended.value.code, cli.updated) == (0, True)
    assert account["kept"].keys() == {"API_AUTH"}


def test_a_deploy_after_a_failed_one_removes_what_that_left(
    account: dict[str, Any],
) -> None:
    account["state"] = function.PARTIAL
    callbacks.settings(Cli("deploy"))
    assert account["removed"] == [("us-east-1", "multi-region-app-primary")]


def test_an_update_of_nothing_names_the_command(account: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="Run `zappa deploy primary`"):
        callbacks.settings(Cli("update"))


def test_a_schema_that_is_behind_refuses_before_anything_is_touched(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def behind(*_: Any) -> None:
        raise NotReady("The database lacks migrations. Run `manage.py dsql_database`.")

    monkeypatch.setattr(wanted, "require_current_schema", behind)
    cli = Cli("update")
    with pytest.raises(SystemExit, match="dsql_database"):
        callbacks.settings(cli)
    assert cli.session == "not loaded"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAMBDA_TIMEOUT", "none"),
        ("PRIMARY_REGION", "us-east-2"),
        ("PRIMARY_REGION", "x"),
    ],
)
def test_a_wrong_variable_ends_the_command_naming_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=name):
        callbacks.settings(Cli("package"))


def test_a_stage_that_is_no_role_is_refused() -> None:
    with pytest.raises(SystemExit, match="use primary or secondary"):
        callbacks.settings(Cli("package", "staging"))
