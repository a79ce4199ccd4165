"""What a deployment makes of API Gateway: who may invoke, and how bodies pass."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from moto.apigateway.models import apigateway_backends
from moto.awslambda.models import lambda_backends

from ops.deploy import callbacks
from ops.deploy.gateway import Gateway
from ops.deploy.invocation import Integration
from ops.paths import PROJECT
from tests.ops.account import (
    ACCOUNT,
    EAST,
    NAME,
    Account,
    Refused,
    invocations,
)
from tests.ops.deploy.cli import Cli
from tests.rehearsal.moto_gaps import serving_deployment


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PRIMARY_REGION", "SECONDARY_REGION", "WITNESS_REGION", "CLUSTER_NAME_PREFIX",
        "LAMBDA_MEMORY_SIZE", "LAMBDA_TIMEOUT", "API_GATEWAY_STAGE", "AWS_PROFILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", "another")
    monkeypatch.setenv("API_AUTH", "oidc")


def integrations(account: Account) -> list[dict[str, Any]]:
    """Those that the public stage serves with, and those that the next deployment takes."""
    api = apigateway_backends[ACCOUNT][EAST].apis[account.api_of(EAST, NAME)]
    deployed = serving_deployment(api, "prod").integrations
    next_ones = [
        method.method_integration
        for resource in api.resources.values()
        for method in resource.resource_methods.values()
    ]
    return [each.to_json() for each in [*deployed.values(), *next_ones]]


def name_the_role(account: Account) -> None:
    """As Zappa's stack does whenever its template has changed."""
    client, api = account.client("apigateway"), account.api_of(EAST, NAME)
    for resource in client.get_resources(restApiId=api)["items"]:
        for method in resource.get("resourceMethods", {}):
            client.put_integration(
                restApiId=api, resourceId=resource["id"], httpMethod=method,
                type="AWS_PROXY", integrationHttpMethod="POST", uri=invocations(EAST),
                credentials=account.role(),
            )  # fmt: skip


def test_no_integration_has_credentials_after_a_deploy_nor_after_an_update(
    account: Account,
) -> None:
    account.make_stacks()
    account.zappa("deploy primary")
    for spoil in (lambda _: None, name_the_role):
        spoil(account)
        account.zappa("update primary")
        found = integrations(account)
        assert {each["credentials"] for each in found} == {None}
        assert {each["uri"] for each in found} == {invocations(EAST)}
        assert {each["type"] for each in found} == {"AWS_PROXY"}


def test_a_deploy_takes_out_the_role_that_zappa_names(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Any] = []
    take_out = Gateway._remove_credentials

    def record(self: Gateway, invoked: Sequence[Integration]) -> bool:
        named.extend(each.found.get("credentials") for each in invoked)
        return take_out(self, invoked)

    monkeypatch.setattr(Gateway, "_remove_credentials", record)
    account.make_stacks()
    account.zappa("deploy primary")
    assert named == [f"arn:aws:iam::{ACCOUNT}:role/{NAME}-runtime"] * 2
    assert {each["credentials"] for each in integrations(account)} == {None}


def test_the_public_stage_and_the_schedule_alone_may_invoke_the_function(
    account: Account,
) -> None:
    account.make_stacks()
    account.zappa("deploy primary")
    api = account.api_of(EAST, NAME)
    for public in ("prod", "v2"):
        account.monkeypatch.setenv("API_GATEWAY_STAGE", public)
        account.zappa("update primary")
        schedule, statement = (
            lambda_backends[ACCOUNT][EAST].get_function(NAME).policy.statements
        )
        assert schedule["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Condition"] == {
            "ArnLike": {
                "AWS:SourceArn": f"arn:aws:execute-api:{EAST}:{ACCOUNT}:{api}/{public}/*"
            }
        }


@pytest.mark.parametrize("chosen", [{"arn": "arn:x"}, {"type": "request"}])
def test_an_authorizer_that_would_take_the_functions_role_is_refused(
    deployed: Account, chosen: dict[str, str]
) -> None:
    before = deployed.photograph()
    file = deployed.settings_file(primary={"authorizer": chosen})
    with pytest.raises(Refused, match="choose COGNITO_USER_POOLS"):
        deployed.zappa(f"update primary -s {file}")
    assert deployed.photograph() == before


def test_cognitos_authorizer_is_taken() -> None:
    cli = Cli("status")
    cli.stage_config = {"authorizer": {"type": "COGNITO_USER_POOLS"}}
    callbacks.settings(cli)
    assert cli.told["aws_region"] == EAST


def test_api_gateway_passes_bodies_on_as_they_are() -> None:
    settings = json.loads((PROJECT / "zappa_settings.json").read_text())
    assert settings["primary"]["payload_compression"] is False
    assert settings["secondary"]["extends"] == "primary"


def test_compression_that_somebody_switched_on_is_off_after_an_update(
    deployed: Account,
) -> None:
    api = deployed.api_of(EAST, NAME)
    deployed.client("apigateway").update_rest_api(
        restApiId=api,
        patchOperations=[
            {"op": "replace", "path": "/minimumCompressionSize", "value": "0"}
        ],
    )
    backend = apigateway_backends[ACCOUNT][EAST].apis[api]
    assert backend.minimum_compression_size == 0
    deployed.zappa("update primary")
    assert backend.minimum_compression_size is None
    assert serving_deployment(backend, "prod").compression is None
