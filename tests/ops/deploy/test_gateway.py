import json
from typing import Any

import pytest
from botocore.stub import Stubber

from config.api.problem_types import PROBLEM_TYPES
from ops.deploy import invocation
from ops.deploy.gateway import (
    ERRORS,
    Gateway,
    StageOptions,
    error_response,
    stage_settings,
)
from ops.ownership import NotReady

NAME = "shop-primary"
FUNCTION = f"arn:aws:lambda:us-east-1:123456789012:function:{NAME}"
OPTIONS = StageOptions(
    NAME, ("prod", "primary"), "prod", "arn:aws:logs:us-east-1:1:log-group:g", {"Role": "primary"},
    ["https://app.example"],
)  # fmt: skip


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return Gateway("us-east-1", "abc123")


@pytest.fixture(autouse=True)
def permitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The stages that were let to invoke what, for the function is not in the stubs."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        invocation, "permit", lambda _, each, __, stage: found.append((each.arn, stage))
    )
    return found


def methods(arn: str = FUNCTION, **integration: Any) -> dict[str, Any]:
    """The answer of GetResources: the root and the proxy, with their integrations."""
    invoked = {
        "type": "AWS_PROXY",
        "httpMethod": "POST",
        "uri": f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations",
        **integration,
    }
    method = {"ANY": {"httpMethod": "ANY", "methodIntegration": invoked}}
    return {"items": [{"id": name, "resourceMethods": method} for name in ("r1", "r2")]}


ASKED = {"restApiId": "abc123", "embed": ["methods"]}


def configured(origins: list[str]) -> dict[str, Any]:
    return {
        "items": [{"responseType": k, **error_response(k, origins)} for k in ERRORS]
    }


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_api_gateway_is_a_problem(kind: str) -> None:
    found = error_response(kind, [])
    body = json.loads(found["responseTemplates"]["application/json"])
    headers = found["responseParameters"]
    assert body["code"] in PROBLEM_TYPES
    anchor = body["code"].replace("_", "-")
    assert body["type"] == f"/$context.stage/problems#{anchor}"
    assert body.get("status") == (
        int(found["statusCode"]) if "statusCode" in found else None
    )
    media_type = headers["gatewayresponse.header.Content-Type"]
    assert media_type == "'application/problem+json'"
    assert "gatewayresponse.header.Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_api_gateway_has_its_types_status_and_title(kind: str) -> None:
    body = json.loads(error_response(kind, [])["responseTemplates"]["application/json"])
    problem_type = PROBLEM_TYPES[body["code"]]
    assert body["title"] == problem_type.title
    assert body.get("status") in {problem_type.status, None}
    # The default ones stand for many statuses.
    assert ("status" in body) == (not kind.startswith("DEFAULT"))


@pytest.mark.parametrize(
    ("origins", "named"),
    [
        (["https://app.example"], "'https://app.example'"),
        (["https://a.example", "https://b.example"], None),
    ],
)
def test_one_allowed_origin_may_read_the_error(
    origins: list[str], named: str | None
) -> None:
    headers = error_response("THROTTLED", origins)["responseParameters"]
    assert headers.get("gatewayresponse.header.Access-Control-Allow-Origin") == named


def limits(stage: str, options: StageOptions = OPTIONS) -> tuple[str, str]:
    found = stage_settings("dep", options, stage)
    return found["/*/*/throttling/rateLimit"], found["/*/*/throttling/burstLimit"]


def test_zappas_own_stage_serves_nothing() -> None:
    assert limits("prod") == ("1000", "2000")
    assert limits("primary") == ("0", "0")


def test_zappas_own_stage_serves_where_it_is_chosen_as_the_public_one() -> None:
    assert limits(
        "primary", StageOptions(NAME, ("primary",), "primary", "arn", {}, [])
    ) == (
        "1000",
        "2000",
    )


@pytest.mark.parametrize("stage", OPTIONS.stages)
def test_every_stage_is_logged_and_traced(stage: str) -> None:
    found = stage_settings("dep", OPTIONS, stage)
    assert found["/tracingEnabled"] == "true"
    assert found["/*/*/logging/dataTrace"] == "false"
    logged = found["/accessLogSettings/format"]
    for private in ("body", "authorizer", "sourceIp", "$context.path", "querystring"):
        assert private not in logged


def test_a_missing_stage_is_made_on_the_deployment_that_zappa_made(
    gateway: Gateway,
) -> None:
    names = {"restApiId": "abc123"}
    arn = "arn:aws:apigateway:us-east-1::/restapis/abc123/stages/"
    operations = {
        name: [
            {"op": "replace", "path": path, "value": value}
            for path, value in stage_settings("d1", OPTIONS, name).items()
        ]
        for name in OPTIONS.stages
    }
    with Stubber(gateway.client) as stub:
        stub.add_response("get_resources", methods(), ASKED)
        stub.add_response(
            "get_gateway_responses", configured(["https://app.example"]),
            {**names, "limit": 500},
        )  # fmt: skip
        primary = {**names, "stageName": "primary"}
        stub.add_response("get_stage", {"deploymentId": "d1"}, primary)
        for name in OPTIONS.stages:
            stage = {**names, "stageName": name}
            if name == "prod":
                stub.add_client_error("get_stage", "NotFoundException")
                made = {
                    **stage,
                    "deploymentId": "d1",
                    "tracingEnabled": True,
                    "tags": {"Role": "primary"},
                }
                stub.add_response("create_stage", {}, made)
            else:
                stub.add_response("get_stage", {"deploymentId": "d1"}, stage)
            stub.add_response(
                "update_stage", {}, {**stage, "patchOperations": operations[name]}
            )
            stub.add_response(
                "tag_resource",
                {},
                {"resourceArn": arn + name, "tags": {"Role": "primary"}},
            )
        gateway.harden("primary", OPTIONS)
        stub.assert_no_pending_responses()


def test_changed_errors_come_with_a_deployment_of_their_own(gateway: Gateway) -> None:
    options = StageOptions(
        NAME, ("primary",), "primary", "arn", {}, ["https://new.example"]
    )
    with Stubber(gateway.client) as stub:
        stub.add_response("get_resources", methods(), ASKED)
        stub.add_response("get_gateway_responses", configured(["https://old.example"]))
        for _ in ERRORS:
            stub.add_response("put_gateway_response", {})
        stub.add_response("create_deployment", {"id": "d2"}, {"restApiId": "abc123"})
        stub.add_response("get_stage", {"deploymentId": "d1"})
        stub.add_response(
            "update_stage",
            {},
            {
                "restApiId": "abc123",
                "stageName": "primary",
                "patchOperations": [
                    {"op": "replace", "path": path, "value": value}
                    for path, value in stage_settings("d2", options, "primary").items()
                ],
            },
        )
        stub.add_response("tag_resource", {})
        gateway.harden("primary", options)
        stub.assert_no_pending_responses()


def test_integrations_lose_their_credentials_before_the_public_stage_gets_them(
    gateway: Gateway, permitted: list[tuple[str, str]]
) -> None:
    options = StageOptions(NAME, ("prod",), "prod", "arn", {}, [])
    role = "arn:aws:iam::123456789012:role/shop-primary-runtime"
    uri = methods()["items"][0]["resourceMethods"]["ANY"]["methodIntegration"]["uri"]
    with Stubber(gateway.client) as stub:
        stub.add_response(
            "get_resources",
            methods(
                credentials=role, cacheNamespace="none", passthroughBehavior="NEVER"
            ),
            ASKED,
        )
        stub.add_response("get_gateway_responses", configured([]))
        for resource in ("r1", "r2"):
            stub.add_response(
                "put_integration",
                {},
                {
                    "restApiId": "abc123",
                    "resourceId": resource,
                    "httpMethod": "ANY",
                    "type": "AWS_PROXY",
                    "integrationHttpMethod": "POST",
                    "uri": uri,
                    "cacheNamespace": "none",
                    "passthroughBehavior": "NEVER",
                },
            )
        stub.add_response("create_deployment", {"id": "d2"}, {"restApiId": "abc123"})
        stub.add_response("get_stage", {"deploymentId": "d1"})
        stub.add_response("update_stage", {})
        stub.add_response("tag_resource", {})
        gateway.harden("primary", options)
        stub.assert_no_pending_responses()
    assert permitted == [(FUNCTION, "prod")]


def test_an_integration_of_somebody_elses_function_is_left_alone(
    gateway: Gateway,
) -> None:
    other = FUNCTION.replace("shop", "bank")
    with Stubber(gateway.client) as stub:
        stub.add_response("get_resources", methods(other, credentials="arn:role"))
        with pytest.raises(NotReady, match="no method of the API abc123 invokes shop"):
            gateway.harden("primary", OPTIONS)
        stub.assert_no_pending_responses()
