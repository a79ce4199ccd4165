"""Nothing of somebody else is touched, whatever name it has: every command, every kind."""

import json
from contextlib import suppress
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

from ops import ownership
from ops.ownership import NotReady
from ops.stacks.runtime import RuntimeStack
from tests.ops.account import (
    ACCOUNT,
    EAST,
    NAME,
    PREFIX,
    TOPOLOGY,
    Account,
    Refused,
    listed,
)
from tests.ops.foreign import (
    ALONE,
    BESIDE,
    LOGS,
    OURS,
    RUNTIME,
    THEIRS,
    Put,
    another_function,
    artifacts,
    bucket,
    cluster,
    function,
    log_group,
    runtime_stack,
)

# First those that make ours, then those that change it, then those that remove it.
COMMANDS = (
    "manage.py dsql_status",
    "manage.py dsql_provision",
    "manage.py stack status --role primary",
    "manage.py stack plan --role primary",
    "manage.py stack deploy --role primary",
    "zappa deploy primary",
    "manage.py deploy --yes --access none",
    "zappa status primary",
    "zappa certify primary --yes",
    "zappa schedule primary",
    "zappa unschedule primary",
    "zappa rollback primary -n 1",
    "zappa update primary",
    "manage.py stack rotate-key",
    "zappa undeploy primary --yes --remove-logs",
    "zappa undeploy --all --yes",
    "manage.py stack delete --role primary --yes",
    f"manage.py dsql_destroy --yes --prefix {PREFIX}",
    "manage.py destroy --yes",
)


def theirs_of(account: Account, put: Put) -> dict[str, str]:
    """What it adds to, or changes of, what is there."""
    before = account.photograph()
    put(account)
    after = account.photograph()
    return {key: after[key] for key in after if after[key] != before.get(key)}


def assert_survives(account: Account, theirs: dict[str, str]) -> None:
    for command in COMMANDS:
        # moto breaks off where a stack would make what is there already.
        with suppress(Refused, ResponseParserError):
            account.run(command)
        photo = account.photograph()
        changed = {key for key, content in theirs.items() if photo.get(key) != content}
        assert not changed, f"{command} touched {changed}"


@pytest.mark.parametrize("kind", ALONE)
def test_what_has_our_names_and_is_not_ours_survives_every_command(
    account: Account, kind: str
) -> None:
    theirs = theirs_of(account, ALONE[kind])
    assert theirs
    assert_survives(account, theirs)


@pytest.mark.parametrize("kind", BESIDE)
def test_what_stands_beside_ours_and_is_not_ours_survives_every_command(
    deployed: Account, kind: str
) -> None:
    theirs = theirs_of(deployed, BESIDE[kind])
    assert theirs
    assert_survives(deployed, theirs)


# What each is refused by, and what it is called
NAMED = f"{NAME} is not ours: it is tagged Application={PREFIX}, ManagedBy=terraform, Team=basket"
ZAPPA = (
    "deploy primary",
    "update primary",
    "undeploy primary --yes",
    "rollback primary",
)


@pytest.mark.parametrize("command", ZAPPA)
def test_zappa_says_what_is_there_and_whose_it_is(
    account: Account, command: str
) -> None:
    account.make_stacks()
    account.make_function("primary", THEIRS)
    with pytest.raises(Refused, match=f"{EAST}: the function {NAMED}"):
        account.zappa(command)
    account.make_api("primary", THEIRS)
    with pytest.raises(Refused, match=rf"the stack {NAME} \(CREATE_COMPLETE\) is not"):
        account.zappa(command)


@pytest.mark.parametrize("action", ["plan", "deploy", "delete --yes", "status"])
def test_a_command_for_a_stack_says_whose_it_is(account: Account, action: str) -> None:
    account.provision()
    runtime_stack("CREATE_COMPLETE")(account)
    name, _, yes = action.partition(" ")
    with pytest.raises(
        Refused, match=r"shop-primary-runtime \(CREATE_COMPLETE\) is not"
    ):
        account.manage(f"stack {name} --role primary {yes}")


@pytest.mark.parametrize("command", ["deploy --yes --access none", "destroy --yes"])
@pytest.mark.parametrize(
    "kind", ["a function", "a stack of the API", "a runtime stack"]
)
def test_nothing_of_ours_is_made_or_removed_while_another_owns_a_name(
    account: Account, command: str, kind: str
) -> None:
    account.provision()
    ALONE[kind](account)
    before = account.photograph()
    with pytest.raises(Refused, match="is not ours: it is tagged"):
        account.manage(command)
    assert account.lines == []
    assert account.photograph() == before


def test_a_bucket_of_the_name_that_ours_will_have_is_found_before_it_is_adopted(
    account: Account,
) -> None:
    account.provision()
    bucket(account)
    before = account.photograph()
    name = f"{PREFIX}-{ACCOUNT}-{EAST}"
    with pytest.raises(Refused, match=f"the bucket {name} is not ours: it has no tags"):
        account.manage("stack deploy --role primary")
    account.client("s3").delete_object(Bucket=name, Key="theirs")
    account.client("s3").delete_bucket(Bucket=name)
    account.manage("stack deploy --role primary")
    assert artifacts() == name
    assert not any(key.startswith("stack") for key in before)


def test_the_key_is_not_rotated_while_another_owns_a_function(
    deployed: Account,
) -> None:
    another_function(deployed)
    before = deployed.photograph()
    with pytest.raises(Refused, match=f"the function {NAME} is not ours"):
        deployed.manage("stack rotate-key")
    assert deployed.photograph() == before


def test_of_two_secrets_with_our_tags_none_is_used(deployed: Account) -> None:
    deployed.client("secretsmanager").create_secret(
        Name="spoofed",
        SecretString='{"key": "theirs", "fallbacks": []}',
        Tags=listed(OURS),
    )
    before = deployed.photograph()
    for command in ("manage.py stack rotate-key", "zappa update primary"):
        with pytest.raises(
            Refused, match=r"several secrets carry the tags of shop: arn:"
        ):
            deployed.run(command)
    assert deployed.photograph() == before


def test_a_secret_that_waits_for_its_deletion_is_not_used(deployed: Account) -> None:
    client = deployed.client("secretsmanager")
    for found in client.list_secrets()["SecretList"]:
        client.remove_regions_from_replication(
            SecretId=found["ARN"], RemoveReplicaRegions=[TOPOLOGY.regions["secondary"]]
        )
        client.delete_secret(SecretId=found["ARN"])
    before = deployed.photograph()
    for command in ("zappa update primary", "manage.py stack rotate-key"):
        with pytest.raises(Refused, match=r"--include-planned-deletion` names it"):
            deployed.run(command)
    assert deployed.photograph() == before


@pytest.mark.parametrize(
    "command", [f"dsql_destroy --yes --prefix {PREFIX}", "destroy --yes"]
)
def test_of_two_clusters_of_one_role_none_is_deleted_by_default(
    deployed: Account, command: str
) -> None:
    cluster(OURS)(deployed)
    before = deployed.photograph()
    with pytest.raises(
        Refused,
        match=r"Several clusters carry the tags of shop \(Region us-east-1: .* and",
    ):
        deployed.manage(command)
    assert deployed.photograph() == before


def test_a_cluster_that_is_named_goes_alone(deployed: Account) -> None:
    made = deployed.client("dsql").create_cluster(
        tags=OURS, deletionProtectionEnabled=False
    )
    said = deployed.manage(
        f"dsql_destroy --yes --prefix {PREFIX} --cluster {made['identifier']}"
    )
    assert said.count("keep ") == 2
    assert "Kept: us-east-1" in said
    left = {key for key in deployed.photograph() if key.startswith("cluster")}
    assert len(left) == 2
    with pytest.raises(Refused, match="no cluster of 'shop' is named so"):
        deployed.manage(f"dsql_destroy --yes --prefix {PREFIX} --cluster x")


def test_a_planned_stack_is_ours_by_the_tags_of_its_change_set(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudFormation gives a stack its tags when the change set is executed."""
    client = account.client("cloudformation")
    made = {"StackName": RUNTIME, "StackStatus": "REVIEW_IN_PROGRESS", "StackId": "x"}
    monkeypatch.setattr(client, "describe_stacks", lambda **_: {"Stacks": [made]})
    answers: dict[str, Any] = {"Tags": listed(OURS)}
    monkeypatch.setattr(client, "describe_change_set", lambda **_: answers)
    assert ownership.stack(TOPOLOGY, EAST, RUNTIME) == made
    answers["Tags"] = listed(THEIRS)
    with pytest.raises(NotReady, match="ManagedBy=terraform"):
        ownership.stack(TOPOLOGY, EAST, RUNTIME)


def test_a_plan_that_was_left_is_ours_to_replace(account: Account) -> None:
    arns = account.provision()
    stack = RuntimeStack(TOPOLOGY, "primary")
    stack.plan_for(arns, in_vpc=False, say=lambda _: None)  # and the process is gone
    assert "create FunctionRole" in account.manage("stack plan --role primary")
    assert stack.status() is None


@pytest.mark.parametrize(
    "status", ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"]
)
def test_a_runtime_stack_that_never_served_is_listed_and_made_anew(
    account: Account, status: str
) -> None:
    account.provision()
    runtime_stack(status, OURS)(account)
    with pytest.raises(Refused, match=f"is {status}, its creation failed"):
        account.manage("stack plan --role primary")
    said = account.manage("stack deploy --role primary")
    first, _, rest = said.partition("create FunctionRole")
    assert (
        f"{RUNTIME} never served. Removing it:\n{EAST}: stack {RUNTIME} ({status})"
        in first
    )
    assert "AWS::SNS::Topic" in first
    assert "is CREATE_COMPLETE" in rest


@pytest.mark.parametrize("status", ["DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"])
def test_a_runtime_stack_that_may_have_served_is_not_removed_by_a_deployment(
    account: Account, status: str
) -> None:
    account.provision()
    runtime_stack(status, OURS)(account)
    before = account.photograph()
    with pytest.raises(Refused, match=f"is {status}; wait until it is done"):
        account.manage("stack deploy --role primary")
    assert account.photograph() == before


def test_a_log_group_that_another_team_made_after_ours_went_is_left(
    deployed: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the deletion of the stack and the look at what Lambda has made anew."""
    stack = RuntimeStack(TOPOLOGY, "primary")
    remove = stack._remove

    def removed(*arguments: Any) -> None:
        remove(*arguments)
        log_group(deployed)
        deployed.client("logs").create_log_group(logGroupName=f"/aws/apigateway/{NAME}")

    monkeypatch.setattr(stack, "_remove", removed)
    deployed.zappa("undeploy primary --yes")
    assert stack.delete(lambda _: None)
    groups = {
        key for key in deployed.photograph() if key.startswith("log group us-east-1")
    }
    assert groups == {f"log group us-east-1 {LOGS}"}


def test_a_log_group_of_another_function_is_left(
    deployed: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = RuntimeStack(TOPOLOGY, "primary")
    remove = stack._remove

    def removed(*arguments: Any) -> None:
        remove(*arguments)
        function()(deployed)
        deployed.client("logs").create_log_group(logGroupName=LOGS)  # by Lambda itself

    monkeypatch.setattr(stack, "_remove", removed)
    deployed.zappa("undeploy primary --yes")
    assert stack.delete(lambda _: None)
    assert f"log group us-east-1 {LOGS}" in deployed.photograph()


def test_permissions_and_urls_that_others_gave_our_function_survive_an_update(
    deployed: Account,
) -> None:
    lambdas = deployed.client("lambda")
    for principal, sid in (
        ("events.amazonaws.com", "theirs"),
        ("*", "FunctionURLAllowPublicAccess"),
    ):
        lambdas.add_permission(
            FunctionName=NAME, StatementId=sid, Action="lambda:InvokeFunction",
            Principal=principal,
        )  # fmt: skip
    lambdas.create_function_url_config(FunctionName=NAME, AuthType="AWS_IAM")
    key = f"permissions {EAST} {NAME}"
    theirs = json.loads(deployed.photograph()[key])
    url = lambdas.get_function_url_config(FunctionName=NAME)["FunctionUrl"]
    deployed.zappa("update primary")
    deployed.zappa("deploy primary")
    *others, schedule, api = json.loads(deployed.photograph()[key])
    assert others == theirs
    assert schedule["Principal"] == {"Service": "events.amazonaws.com"}
    assert api["Principal"] == {"Service": "apigateway.amazonaws.com"}
    now = lambdas.get_function_url_config(FunctionName=NAME)["FunctionUrl"]
    assert now == url


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"Application": PREFIX},
        {"ManagedBy": "multi-region-app", "Role": "primary"},
        {**OURS, "Application": f"{PREFIX}-eu"},
        {**OURS, "Application": PREFIX.upper()},
        {**OURS, "Application": f"{PREFIX} "},
        {**OURS, "ManagedBy": "Multi-Region-App"},
        {name.lower(): value for name, value in OURS.items()},
    ],
)
def test_tags_that_only_resemble_ours_are_not_ours(tags: dict[str, str]) -> None:
    with pytest.raises(NotReady, match="it is not ours"):
        ownership.require_ours(TOPOLOGY, EAST, "it", tags)


def test_whose_it_is_is_told_by_its_tags() -> None:
    assert ownership.describe({}) == "it has no tags"
    many = {f"tag{number}": "x" for number in range(9)}
    assert ownership.describe(many).endswith("tag5=x, …")
