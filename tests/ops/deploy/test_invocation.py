import json
from dataclasses import replace
from typing import Any

from ops.deploy import invocation
from ops.deploy.invocation import Integration
from tests.ops.account import ACCOUNT, EAST, NAME, Account

FUNCTION = f"arn:aws:lambda:{EAST}:{ACCOUNT}:function:{NAME}"
INVOKED = Integration("root", "ANY", FUNCTION, None, {})


def policy(account: Account, **named: str) -> list[dict[str, Any]]:
    found = account.client("lambda").get_policy(FunctionName=NAME, **named)
    statements: list[dict[str, Any]] = json.loads(found["Policy"])["Statement"]
    return statements


def sources(account: Account) -> list[str]:
    return [
        statement["Condition"]["ArnLike"]["AWS:SourceArn"]
        for statement in policy(account)
    ]


def permit(api: str = "abc", stage: str = "prod") -> None:
    invocation.permit(EAST, INVOKED, api, stage)


def test_one_stage_of_one_api_may_invoke_the_function_and_nobody_else(
    deployed: Account,
) -> None:
    permit()
    (statement,) = policy(deployed)
    assert statement["Action"] == "lambda:InvokeFunction"
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert sources(deployed) == [f"arn:aws:execute-api:{EAST}:{ACCOUNT}:abc/prod/*"]


def test_a_permission_that_is_right_is_not_made_anew(deployed: Account) -> None:
    permit()
    before = deployed.photograph()
    permit()
    assert deployed.photograph() == before


def test_another_stage_or_api_takes_the_place_of_the_one_before(
    deployed: Account,
) -> None:
    permit()
    permit(stage="v2")
    assert sources(deployed) == [f"arn:aws:execute-api:{EAST}:{ACCOUNT}:abc/v2/*"]
    permit(api="def")
    assert sources(deployed) == [f"arn:aws:execute-api:{EAST}:{ACCOUNT}:def/prod/*"]


def test_a_permission_that_somebody_else_gave_remains(deployed: Account) -> None:
    deployed.client("lambda").add_permission(
        FunctionName=NAME, StatementId="alarm", Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com", SourceArn="arn:aws:events:::rule/a",
    )  # fmt: skip
    permit()
    permit(stage="v2")
    assert [each["Sid"] for each in policy(deployed)] == ["alarm", "api-gateway"]


def test_the_permission_goes_with_the_function(deployed: Account) -> None:
    permit()
    deployed.zappa("undeploy primary --yes")
    assert not [name for name in deployed.photograph() if f"permissions {EAST}" in name]


def test_where_the_api_invokes_an_alias_the_alias_is_permitted(
    deployed: Account,
) -> None:
    client = deployed.client("lambda")
    client.create_alias(FunctionName=NAME, Name="live", FunctionVersion="1")
    alias = replace(INVOKED, arn=f"{FUNCTION}:live", qualifier="live")
    assert invocation.source_arn(alias.arn, "abc", "prod") == (
        f"arn:aws:execute-api:{EAST}:{ACCOUNT}:abc/prod/*"
    )
    invocation.permit(EAST, alias, "abc", "prod")
    (statement,) = policy(deployed, Qualifier="live")
    assert statement["Resource"].endswith(":live")


def test_the_schedule_of_the_stack_and_no_other_rule_may_invoke_the_function(
    deployed: Account,
) -> None:
    rule = f"arn:aws:events:{EAST}:{ACCOUNT}:rule/{NAME}-maintenance"
    permit()
    for wrong in (rule.replace(NAME, "other"), rule):
        invocation.permit_schedule(EAST, NAME, wrong)
    before = deployed.photograph()
    invocation.permit_schedule(EAST, NAME, rule)
    assert deployed.photograph() == before
    api, schedule = policy(deployed)
    assert api["Sid"] == "api-gateway"
    assert schedule["Principal"] == {"Service": "events.amazonaws.com"}
    assert schedule["Condition"]["ArnLike"]["AWS:SourceArn"] == rule


def test_a_deployment_lets_its_own_schedule_invoke_the_function(
    account: Account,
) -> None:
    account.make_stacks()
    account.zappa("deploy primary")
    (schedule,) = [s for s in policy(account) if s["Sid"] == "maintenance"]
    (rule,) = account.client("events").list_rules(NamePrefix=NAME)["Rules"]
    assert schedule["Condition"]["ArnLike"]["AWS:SourceArn"] == rule["Arn"]
    (target,) = account.client("events").list_targets_by_rule(Rule=rule["Name"])[
        "Targets"
    ]
    assert target["Arn"] == FUNCTION
    assert json.loads(target["Input"]) == {"maintenance": "delete_expired_responses"}
    account.zappa("update primary")
    assert account.client("events").list_rules(NamePrefix=NAME)["Rules"] == [rule]
