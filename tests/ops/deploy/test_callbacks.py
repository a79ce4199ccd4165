import contextlib
import io
import json
import os
import signal
import sys
from typing import Any

import pytest
from zappa import core

from ops.deploy import callbacks, function, preflight
from ops.deploy import settings as zappa_settings
from ops.deploy.function import Function
from ops.ownership import NotReady
from ops.paths import PROJECT
from tests.ops.account import (
    EAST,
    NAME,
    OHIO,
    PREFIX,
    TOPOLOGY,
    Account,
    Refused,
)
from tests.ops.deploy.cli import Cli

REQUIRE_SOUND = preflight.require_sound


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PRIMARY_REGION", "SECONDARY_REGION", "WITNESS_REGION", "CLUSTER_NAME_PREFIX",
        "LAMBDA_MEMORY_SIZE", "LAMBDA_TIMEOUT", "API_GATEWAY_STAGE", "AWS_PROFILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", "another")
    monkeypatch.setenv("API_AUTH", "oidc")


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
    assert os.environ["VIRTUAL_ENV"] == sys.prefix


def test_the_session_is_of_the_topologys_region(
    deployed: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zappa lets AWS_DEFAULT_REGION win, and splits the deployment over two Regions."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", EAST)
    cli = Cli("update", "secondary")
    callbacks.settings(cli)
    assert cli.session.region_name == OHIO
    assert cli.told["aws_environment_variables"]["DSQL_USER"] == "app"


@pytest.mark.parametrize("command", ["status", "tail", "package", "template"])
def test_what_only_reads_asks_nothing_of_the_account(command: str) -> None:
    cli = Cli(command)
    callbacks.settings(cli)  # without an account, every call would fail
    assert (cli.session is None) == (command == "package")


@pytest.mark.parametrize("command", ["deploy", "update"])
@pytest.mark.parametrize("choice", [None, "", " "])
def test_who_may_call_must_be_chosen(
    monkeypatch: pytest.MonkeyPatch, command: str, choice: str | None
) -> None:
    if choice is None:
        monkeypatch.delenv("API_AUTH")
    else:
        monkeypatch.setenv("API_AUTH", choice)
    with pytest.raises(SystemExit, match=r"API_AUTH is not set\. Choose who may call"):
        callbacks.settings(Cli(command))


@pytest.mark.parametrize("command", ["deploy", "update"])
def test_a_broken_choice_of_access_is_refused_before_anything_is_touched(
    deployed: Account, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(preflight, "require_sound", REQUIRE_SOUND)
    monkeypatch.setenv("API_AUTH", "oidc")
    cli, before = Cli(command), deployed.photograph()
    with pytest.raises(
        SystemExit, match="API_AUTH is oidc, but OIDC_ISSUER is not set"
    ):
        callbacks.settings(cli)
    assert cli.session == "not loaded"
    assert deployed.photograph() == before


def test_a_schema_that_is_behind_refuses_before_anything_is_touched(
    deployed: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behind(*_: Any) -> None:
        raise NotReady("The database lacks migrations. Run `manage.py dsql_database`.")

    monkeypatch.setattr(zappa_settings, "require_current_schema", behind)
    cli = Cli("update")
    with pytest.raises(SystemExit, match="dsql_database"):
        callbacks.settings(cli)
    assert cli.session == "not loaded"


def test_both_stages_are_deployed_updated_shown_and_removed_by_one_command(
    account: Account,
) -> None:
    account.make_stacks()
    account.zappa("deploy --all")
    assert {Function(TOPOLOGY, stage).state() for stage in TOPOLOGY.regions} == {
        function.COMPLETE
    }
    account.zappa("update --all")
    said = account.zappa("status --all")
    assert all(f"Status for {PREFIX}-{stage}" in said for stage in TOPOLOGY.regions)
    account.zappa("undeploy --all --yes")
    assert {Function(TOPOLOGY, stage).state() for stage in TOPOLOGY.regions} == {
        function.ABSENT
    }


def test_the_second_time_one_command_works_for_both_stages_too(
    deployed: Account,
) -> None:
    said = deployed.zappa("deploy --all")
    for stage in TOPOLOGY.regions:
        assert f"{PREFIX}-{stage} is deployed already: updating it." in said
        assert Function(TOPOLOGY, stage).latest_version() > 1
    deployed.zappa("undeploy --all --yes")
    said = deployed.zappa("undeploy --all --yes")
    for stage in TOPOLOGY.regions:
        assert f"{PREFIX}-{stage} is not deployed: nothing to remove." in said


def test_an_update_drops_the_variables_that_are_no_longer_set(
    deployed: Account,
) -> None:
    Function(TOPOLOGY, "primary").add_variables({"LEFT_OVER": "1"})
    deployed.zappa("update primary")
    assert "LEFT_OVER" not in (Function(TOPOLOGY, "primary").variables() or {})


@pytest.mark.parametrize(
    ("command", "seconds"),
    [("update", 900), ("undeploy", 900), ("tail", 0), ("package", 0)],
)
def test_what_changes_something_has_an_end(command: str, seconds: int) -> None:
    cli = Cli(command)
    with contextlib.suppress(SystemExit):  # there is no account
        callbacks.settings(cli)
    assert signal.alarm(0) == pytest.approx(seconds, abs=1 if seconds else 0)


def test_a_wait_without_end_ends_with_what_to_do(
    deployed: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zappa does not know ROLLBACK_COMPLETE and asks for the stack's state for ever."""

    def wait(*_: Any, **__: Any) -> None:
        while True:
            with contextlib.suppress(Exception):
                signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(core.Zappa, "update_stack", wait)
    with pytest.raises(Refused, match="took longer than 15 minutes and was given up"):
        deployed.zappa("update primary")


def test_the_peer_learns_the_address(deployed: Account) -> None:
    deployed.zappa("update primary")
    api = deployed.api_of(EAST, NAME)
    url = f"https://{api}.execute-api.{EAST}.amazonaws.com/prod"
    assert (Function(TOPOLOGY, "secondary").variables() or {})["PEER_URL"] == url


def test_a_deploy_after_a_failed_one_lists_and_removes_what_that_left(
    account: Account,
) -> None:
    account.make_stacks()
    account.make_function("primary", TOPOLOGY.tags("primary"))
    said = account.zappa("deploy primary")
    left, _, _ = said.partition(f"{EAST}: function {NAME}")
    assert "is made again. Removing first:" in left
    assert Function(TOPOLOGY, "primary").state() == function.COMPLETE


def test_a_stack_that_served_is_used_again_and_keeps_its_api(account: Account) -> None:
    """Somebody deleted the function alone: its API's address is worth keeping."""
    account.deploy()
    api = account.api_of(EAST, NAME)
    account.client("lambda").delete_function(FunctionName=NAME)
    account.zappa("deploy primary")
    assert account.api_of(EAST, NAME) == api
    assert Function(TOPOLOGY, "primary").state() == function.COMPLETE


def test_an_update_of_nothing_names_the_command(account: Account) -> None:
    account.make_stacks()
    with pytest.raises(Refused, match="Run `zappa deploy primary`"):
        account.zappa("update primary")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("certify primary", "changes rules and permissions by name"),
        ("schedule primary", "changes rules and permissions by name"),
        ("unschedule primary", "changes rules and permissions by name"),
        ("invoke primary os.getcwd", "runs no code"),
        ("invoke primary 1 --raw", "runs no code"),
        ("manage primary check", r"Use `manage\.py COMMAND --target aws` here"),
    ],
)
def test_what_changes_by_name_or_runs_code_is_refused_in_one_line(
    deployed: Account, command: str, why: str
) -> None:
    before = deployed.photograph()
    name = command.split()[0]
    with pytest.raises(Refused, match=f"`zappa {name}` does not fit.*{why}"):
        deployed.zappa(command)
    assert deployed.photograph() == before


UNFIT = {
    "alb_enabled": True, "async_response_table": "theirs", "async_source": "sns",
    "aws_endpoint_urls": {"s3": "https://elsewhere.example"},
    "cognito": {"user_pool": "theirs"}, "domain": "theirs.example", "environment_variables": {"API_AUTH": "none"},
    "events": [{"function": "x"}], "function_url_enabled": True, "keep_warm": True,
    "manage_roles": True, "remote_env": "s3://theirs/env",
    "role_name": "theirs", "an_option_of_a_later_zappa": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_a_setting_that_changes_what_is_not_ours_is_refused_by_name(
    deployed: Account, name: str
) -> None:
    file = deployed.settings_file(primary={name: UNFIT[name]})
    before = deployed.photograph()
    for command in ("update", "deploy"):
        with pytest.raises(Refused, match=f"Remove {name} from Zappa's settings"):
            deployed.zappa(f"{command} primary -s {file}")
    assert deployed.photograph() == before


@pytest.mark.parametrize("option", ["--zip", "--docker-image-uri"])
@pytest.mark.parametrize("command", ["deploy", "update"])
def test_code_that_was_not_built_from_the_commit_is_refused(
    deployed: Account, command: str, option: str
) -> None:
    before = deployed.photograph()
    with pytest.raises(Refused, match=f"Remove {option}: a deployment ships"):
        deployed.zappa(f"{command} primary {option} s3://bucket/elsewhere.zip")
    assert deployed.photograph() == before


def test_a_role_of_the_name_that_zappa_would_give_survives(deployed: Account) -> None:
    """Zappa's own default for a file that does not say ``manage_roles``."""
    deployed.role(f"{NAME}-ZappaLambdaExecutionRole")
    file = deployed.settings_file()
    settings = json.loads(file.read_text())
    del settings["primary"]["manage_roles"]
    file.write_text(json.dumps(settings))
    roles = {k: v for k, v in deployed.photograph().items() if k.startswith("role ")}
    deployed.zappa(f"update primary -s {file}")
    assert roles.items() <= deployed.photograph().items()


def test_the_logs_are_not_zappas_to_remove(deployed: Account) -> None:
    before = deployed.photograph()
    with pytest.raises(Refused, match=r"`manage\.py stack delete --role primary`"):
        deployed.zappa("undeploy primary --yes --remove-logs")
    assert deployed.photograph() == before


def test_an_undeployment_lists_what_goes_and_asks(
    deployed: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(prompt: str) -> str:
        asked.append(prompt)
        return "n"

    monkeypatch.setattr("builtins.input", refuse)
    with pytest.raises(Refused) as refused:
        deployed.zappa("undeploy primary")
    said = str(refused.value)
    assert f"{EAST}: function {NAME}\n{EAST}: stack {NAME} (CREATE_COMPLETE)" in said
    assert said.endswith("Nothing was removed.")
    assert asked == ["This removes all of the above. Go on? [y/N] "]
    assert Function(TOPOLOGY, "primary").state() == function.COMPLETE


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
def test_an_undeployment_that_nobody_can_confirm_is_an_error(
    deployed: Account, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    before = deployed.photograph()
    with pytest.raises(Refused, match=r"Nothing was removed\.$"):
        deployed.zappa("undeploy --all")
    assert deployed.photograph() == before


def test_there_is_nothing_to_roll_back_to_before_the_first_deployment(
    deployed: Account,
) -> None:
    with pytest.raises(
        Refused, match=r"has 1 published version.*`zappa undeploy primary`"
    ):
        deployed.zappa("rollback primary -n 1")


VPC = {"vpc_config": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}


@pytest.mark.parametrize("command", ["deploy", "update"])
def test_a_vpc_that_the_role_may_not_join_is_refused_whichever_file_asks_for_it(
    deployed: Account, command: str
) -> None:
    file, before = deployed.settings_file(primary=VPC), deployed.photograph()
    with pytest.raises(
        Refused, match=f"stack deploy --role primary --settings-file {file}"
    ):
        deployed.zappa(f"{command} primary -s {file}")
    assert deployed.photograph() == before


def test_a_vpc_that_the_stack_was_made_for_is_joined(deployed: Account) -> None:
    file = deployed.settings_file(primary=VPC)
    deployed.manage(f"stack deploy --role primary --settings-file {file}")
    deployed.zappa(f"update primary -s {file}")
    found = deployed.client("lambda").get_function_configuration(FunctionName=NAME)
    assert found["VpcConfig"]["SubnetIds"] == ["subnet-1"]


def test_every_stage_of_the_settings_file_is_a_role() -> None:
    """``--all`` meets every key of it."""
    settings = json.loads((PROJECT / "zappa_settings.json").read_text())
    assert list(settings) == list(TOPOLOGY.regions)


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
