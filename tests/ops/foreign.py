"""What other teams may have put into the account, under our names or beside ours."""

import json
from collections.abc import Callable

from moto.cloudformation.models import cloudformation_backends

from ops.ownership import CHANGE_SET
from ops.stacks.boundary import Boundary
from ops.stacks.runtime import RuntimeStack
from tests.ops.account import (
    ACCOUNT,
    EAST,
    NAME,
    PREFIX,
    TOPOLOGY,
    Account,
    listed,
)

THEIRS = {"Application": PREFIX, "ManagedBy": "terraform", "Team": "basket"}
OURS = TOPOLOGY.tags("primary")
RUNTIME = f"{NAME}-runtime"
LOGS = f"/aws/lambda/{NAME}"
DENY = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}
TOPIC = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
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
