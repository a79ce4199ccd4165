from collections.abc import Callable
from typing import Any

import pytest
from moto.apigateway.exceptions import BadRequestException
from moto.apigateway.models import APIGatewayBackend, apigateway_backends

from ops.ownership import NotReady
from ops.stacks import log_role
from ops.stacks.log_role import LogRole
from tests.ops.account import ACCOUNT, EAST, NAME, TOPOLOGY, Account, Refused, listed

ROLE = f"{NAME}-gateway-logs"
ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
PUSH_LOGS = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
THEIRS = {"Application": "bank", "ManagedBy": "multi-region-app"}


def chosen() -> str | None:
    role: str | None = apigateway_backends[ACCOUNT][EAST].account.cloudwatch_role_arn
    return role


def choose(account: Account, arn: str) -> None:
    account.client("apigateway").update_account(
        patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}]
    )


def roles(account: Account) -> set[str]:
    found = account.client("iam").list_roles()["Roles"]
    return {role["RoleName"] for role in found}


def ours(said: list[str] | None = None) -> LogRole:
    made = LogRole(TOPOLOGY, "primary", sleep=lambda _: None)
    made.apply((said if said is not None else []).append)
    return made


def test_where_none_is_set_ours_is_made_with_one_policy_of_awss(
    account: Account,
) -> None:
    assert LogRole(TOPOLOGY, "primary").pending() == (
        f"create and set API Gateway's logging role {ROLE}"
    )
    assert ours().pending() is None
    assert chosen() == ARN
    iam = account.client("iam")
    role = iam.get_role(RoleName=ROLE)["Role"]
    assert role["Tags"] == listed(TOPOLOGY.tags("primary"))
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    attached = iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]
    assert [each["PolicyArn"] for each in attached] == [PUSH_LOGS]


def test_a_second_time_nothing_changes(account: Account) -> None:
    ours()
    before = account.photograph()
    said: list[str] = []
    ours(said)
    assert said == []
    assert account.photograph() == before


def test_another_teams_is_left_and_ours_is_not_made(account: Account) -> None:
    choose(account, account.role())
    before = account.photograph()
    assert ours().pending() is None
    ours().delete(lambda _: None)
    assert account.photograph() == before


def test_one_that_was_deleted_by_hand_is_made_again(account: Account) -> None:
    ours()
    iam = account.client("iam")
    iam.detach_role_policy(RoleName=ROLE, PolicyArn=PUSH_LOGS)
    iam.delete_role(RoleName=ROLE)
    assert "create and set" in (LogRole(TOPOLOGY, "primary").pending() or "")
    ours()
    assert roles(account) == {ROLE}


def test_a_role_of_the_name_that_is_not_ours_is_refused_before_anything_is_made(
    account: Account,
) -> None:
    account.client("iam").create_role(
        RoleName=ROLE, AssumeRolePolicyDocument="{}", Tags=listed(THEIRS)
    )
    before = account.photograph()
    with pytest.raises(NotReady, match=f"the role {ROLE} is not ours"):
        LogRole(TOPOLOGY, "primary").pending()
    LogRole(TOPOLOGY, "primary").delete(lambda _: None)
    assert account.photograph() == before


def test_a_new_role_is_tried_until_it_is_known(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, refusals = APIGatewayBackend.update_account, [1, 2]
    slept: list[float] = []

    def update_account(self: Any, operations: Any) -> Any:
        if refusals:
            refusals.pop()
            raise BadRequestException("The role ARN does not have required permissions")
        return update(self, operations)

    monkeypatch.setattr(APIGatewayBackend, "update_account", update_account)
    LogRole(TOPOLOGY, "primary", sleep=slept.append).apply(lambda _: None)
    assert slept == [log_role.PAUSE_SECONDS] * 2
    assert chosen() == ARN


# Who else may write logs in the Region


def rest_api(account: Account, operations: dict[str, str]) -> None:
    gateway = account.client("apigateway")
    api = gateway.create_rest_api(name="bank", tags=THEIRS)["id"]
    account.make_stages(EAST, api)
    gateway.update_stage(
        restApiId=api,
        stageName="prod",
        patchOperations=[
            {"op": "replace", "path": path, "value": value}
            for path, value in operations.items()
        ],
    )


def socket_api(account: Account, kind: str, **stage: Any) -> None:
    gateway = account.client("apigatewayv2")
    api = gateway.create_api(
        Name="bank", ProtocolType=kind, RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    gateway.create_stage(ApiId=api, StageName="prod", **stage)


GROUP = f"arn:aws:logs:{EAST}:{ACCOUNT}:log-group:bank"
LOGGING: dict[str, Callable[[Account], None]] = {
    "access logs": lambda account: rest_api(
        account, {"/accessLogSettings/destinationArn": GROUP}
    ),
    "execution logs": lambda account: rest_api(
        account, {"/*/*/logging/loglevel": "ERROR"}
    ),
    "a WebSocket API's": lambda account: socket_api(
        account, "WEBSOCKET", AccessLogSettings={"DestinationArn": GROUP}
    ),
}
SILENT: dict[str, Callable[[Account], None]] = {
    "no API": lambda _: None,
    "no logs": lambda account: rest_api(account, {"/*/*/logging/loglevel": "OFF"}),
    "an HTTP API, which needs no role": lambda account: socket_api(
        account, "HTTP", AccessLogSettings={"DestinationArn": GROUP}
    ),
}


@pytest.mark.parametrize("put", LOGGING.values(), ids=LOGGING)
def test_while_another_teams_api_logs_it_remains_and_says_for_whom(
    account: Account, put: Callable[[Account], None]
) -> None:
    made = ours()
    put(account)
    said: list[str] = []
    made.delete(said.append)
    assert chosen() == ARN
    assert ROLE in roles(account)
    (line,) = said
    assert "bank (" in line
    assert "`manage.py stack delete --role primary` again" in line


@pytest.mark.parametrize("put", SILENT.values(), ids=SILENT)
def test_where_nothing_logs_it_is_removed(
    account: Account, put: Callable[[Account], None]
) -> None:
    made = ours()
    put(account)
    made.delete(lambda _: None)
    assert not chosen()
    assert ROLE not in roles(account)


def test_ours_goes_where_another_was_chosen_since(account: Account) -> None:
    made = ours()
    choose(account, account.role())
    made.delete(lambda _: None)
    assert roles(account) == {"another-role"}
    assert chosen() == account.role()


def test_the_commands_set_it_and_take_it_back(account: Account) -> None:
    arns = account.provision()
    assert set(arns) == set(TOPOLOGY.regions)
    assert "create and set API Gateway" in account.manage("stack plan --role primary")
    assert not chosen()
    account.manage("stack deploy --role primary")
    assert chosen() == ARN
    assert "is up to date" in account.manage("stack deploy --role primary")
    account.manage("stack delete --role primary --yes")
    assert not chosen()
    assert ROLE not in roles(account)


def test_a_deployment_says_that_it_is_missing_before_anything_is_touched(
    deployed: Account,
) -> None:
    choose(deployed, "")
    before = deployed.photograph()
    with pytest.raises(Refused, match=r"API Gateway has no logging role.*stack deploy"):
        deployed.zappa("update primary")
    assert deployed.photograph() == before
