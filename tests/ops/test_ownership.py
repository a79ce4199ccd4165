"""Nothing of somebody else is touched, whatever name it has: every command, every kind."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from botocore.parsers import ResponseParserError
from moto.cloudformation.models import cloudformation_backends

from ops import ownership
from ops.ownership import CHANGE_SET, NotReady
from ops.stacks.boundary import Boundary
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

THEIRS = {"Application": PREFIX, "ManagedBy": "terraform", "Team": "basket"}
OURS = TOPOLOGY.tags("primary")
RUNTIME = f"{NAME}-runtime"
LOGS = f"/aws/lambda/{NAME}"
DENY = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}
TOPIC = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
# First those that make ours, then those that change it, then those that remove it.
COMMANDS = (
    "manage.py dsql_status",
    "manage.py dsql_provision",
    "manage.py stack status --stage primary",
    "manage.py stack plan --stage primary",
    "manage.py stack deploy --stage primary",
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
    "manage.py stack delete --stage primary --yes",
    f"manage.py dsql_destroy --yes --prefix {PREFIX}",
    "manage.py destroy --yes",
)
Put = Callable[[Account], None]


def api_stack(status: str = "CREATE_COMPLETE", tags: dict[str, str] = THEIRS) -> Put:
    def put(account: Account) -> None:
        account.make_api("primary", tags)
        set_status(NAME, status)

    return put


def runtime_stack(status: str, tags: dict[str, str] = THEIRS) -> Put:
    def put(account: Account) -> None:
        account.client("cloudformation").create_stack(
            StackName=RUNTIME, TemplateBody=TOPIC, Tags=listed(tags)
        )
        set_status(RUNTIME, status)

    return put


def planned_stack(name: str, change_set: str) -> Put:
    """Somebody has planned a stack of that name and not made it yet."""

    def put(account: Account) -> None:
        account.client("cloudformation").create_change_set(
            StackName=name, ChangeSetName=change_set, ChangeSetType="CREATE",
            TemplateBody=TOPIC, Tags=listed(THEIRS),
        )  # fmt: skip

    return put


def function(tags: dict[str, str] = THEIRS) -> Put:
    return lambda account: account.make_function("primary", tags)


def pair(account: Account) -> None:
    function()(account)
    api_stack()(account)


def api(account: Account) -> None:
    made = account.client("apigateway").create_rest_api(name=NAME, tags=THEIRS)
    account.make_stages(EAST, made["id"])


def secret(account: Account) -> None:
    account.client("secretsmanager").create_secret(
        Name=f"{PREFIX}-django-key-theirs", SecretString="{}", Tags=listed(THEIRS)
    )


def log_group(account: Account) -> None:
    logs = account.client("logs")
    logs.create_log_group(logGroupName=LOGS, tags=THEIRS)
    logs.create_log_stream(logGroupName=LOGS, logStreamName="theirs")


def bucket(account: Account) -> None:
    storage = account.client("s3")
    storage.create_bucket(Bucket=f"{PREFIX}-{ACCOUNT}-{EAST}")
    storage.put_object(Bucket=f"{PREFIX}-{ACCOUNT}-{EAST}", Key="theirs")


def boundary(account: Account) -> None:
    account.client("iam").create_policy(
        PolicyName=Boundary(TOPOLOGY).arn.rpartition("/")[2],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [DENY]}),
        Tags=listed(THEIRS),
    )


def account_role(account: Account) -> None:
    """Another team's logging role of API Gateway has the name that ours would have."""
    set_account_role(account, account.role(f"{NAME}-gateway-logs"))


def cluster(tags: dict[str, str]) -> Put:
    return lambda account: account.client("dsql").create_cluster(
        tags=tags, deletionProtectionEnabled=False
    )


def all_of(*puts: Put) -> Put:
    def put(account: Account) -> None:
        for each in puts:
            each(account)

    return put


# Where there is nothing of ours
ALONE: dict[str, Put] = {
    "a stack of the API": api_stack(),
    "a stack of the API that was rolled back": api_stack("ROLLBACK_COMPLETE"),
    "a stack of the API that could not be deleted": api_stack("DELETE_FAILED"),
    "a stack of the API without tags": api_stack(tags={}),
    "a planned stack of the API": planned_stack(NAME, "theirs"),
    "a runtime stack": runtime_stack("CREATE_COMPLETE"),
    "a runtime stack that was rolled back": runtime_stack("ROLLBACK_COMPLETE"),
    "a runtime stack of another application": runtime_stack(
        "CREATE_COMPLETE", {**OURS, "Application": "shop2"}
    ),
    "a planned runtime stack": planned_stack(RUNTIME, "theirs"),
    "a planned runtime stack with our change set's name": planned_stack(
        RUNTIME, CHANGE_SET
    ),
    "a function": function(),
    "a function without tags": function({}),
    "a function and its API": pair,
    "an API": api,
    "a log group": log_group,
    "a policy": boundary,
    "a bucket": bucket,
    # None of these is in the way of a command, so that each meets all of them.
    "a secret, an account role, clusters": all_of(
        secret, account_role, cluster({}), cluster(THEIRS)
    ),
}


def set_status(name: str, status: str) -> None:
    stacks = cloudformation_backends[ACCOUNT][EAST].stacks.values()
    (stack,) = [found for found in stacks if found.name == name]
    stack.status = status


def set_account_role(account: Account, arn: str) -> None:
    account.client("apigateway").update_account(
        patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}]
    )


def another_function(account: Account) -> None:
    """Ours was deleted by hand, and another team made one of the name."""
    account.client("lambda").delete_function(FunctionName=NAME)
    function()(account)


def another_bucket(tags: dict[str, str]) -> Put:
    """Ours was deleted by hand, and the name was free for everybody."""

    def put(account: Account) -> None:
        storage = account.client("s3")
        name = artifacts()
        storage.delete_bucket(Bucket=name)
        storage.create_bucket(Bucket=name)
        storage.put_object(Bucket=name, Key="theirs")
        storage.put_bucket_tagging(Bucket=name, Tagging={"TagSet": listed(tags)})

    return put


def artifacts() -> str:
    outputs = RuntimeStack(TOPOLOGY, "primary").outputs()
    assert outputs is not None
    return outputs["BucketName"]


def another_stage(account: Account) -> None:
    """On our API, where our public stage would be."""
    gateway, ours = account.client("apigateway"), account.api_of(EAST, NAME)
    gateway.tag_resource(
        resourceArn=f"arn:aws:apigateway:{EAST}::/restapis/{ours}/stages/prod",
        tags=THEIRS,
    )


def another_rule(account: Account) -> None:
    """Another team's schedule calls our function."""
    events = account.client("events")
    events.put_rule(Name="theirs", ScheduleExpression="rate(1 day)")
    arn = f"arn:aws:lambda:{EAST}:{ACCOUNT}:function:{NAME}"
    events.put_targets(Rule="theirs", Targets=[{"Id": "1", "Arn": arn}])


def another_account_role(account: Account) -> None:
    set_account_role(account, account.role())


# What can only be where ours is
BESIDE: dict[str, Put] = {
    "a function in the place of ours": another_function,
    "an API of the same name": api,
    "a stage of our API": another_stage,
    "an untagged bucket of our bucket's name": another_bucket({}),
    "a bucket of our bucket's name": another_bucket(THEIRS),
    "a rule that calls our function, an account role": all_of(
        another_rule, another_account_role
    ),
}


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
        account.manage(f"stack {name} --stage primary {yes}")


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
        account.manage("stack deploy --stage primary")
    account.client("s3").delete_object(Bucket=name, Key="theirs")
    account.client("s3").delete_bucket(Bucket=name)
    account.manage("stack deploy --stage primary")
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
def test_of_two_clusters_of_one_role_none_is_deleted_unasked(
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
    stack.plan(arns, in_vpc=False, say=lambda _: None)  # and the process is gone
    assert "create FunctionRole" in account.manage("stack plan --stage primary")
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
        account.manage("stack plan --stage primary")
    said = account.manage("stack deploy --stage primary")
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
        account.manage("stack deploy --stage primary")
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
    *others, ours = json.loads(deployed.photograph()[key])
    assert others == theirs
    assert ours["Principal"] == {"Service": "apigateway.amazonaws.com"}
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
