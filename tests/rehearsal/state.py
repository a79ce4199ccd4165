"""What exists in the rehearsal's account, as moto has it."""

import json
from collections.abc import Iterator
from typing import Any

from moto.apigateway.models import apigateway_backends
from moto.awslambda.models import lambda_backends
from moto.cloudformation.models import cloudformation_backends
from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends

from ops.local.sandbox.control_store import load
from ops.policies import PURPOSES, Scope
from ops.sandbox_status import CLUSTERS
from tests.rehearsal.gateway import ACCOUNT, may_invoke
from tests.rehearsal.world import World


def function_name(world: World, role: str) -> str:
    return world.topology.function(role)[1]


def find_function(world: World, role: str) -> Any:
    """The function of the role, as moto has it."""
    region, name = world.topology.function(role)
    return lambda_backends[ACCOUNT][region].get_function(name)


def find_api(world: World, role: str) -> Any:
    """The only API in the Region of the role."""
    region = world.topology.regions[role]
    (found,) = apigateway_backends[ACCOUNT][region].apis.values()
    return found


def list_urls(world: World, gateway_stage: str) -> list[str]:
    return [
        f"https://{find_api(world, role).id}.execute-api.{region}.amazonaws.com/{gateway_stage}"
        for role, region in world.topology.regions.items()
    ]


def is_placed(world: World) -> bool:
    """Every API, function and bucket lies in the Region of its role, and none elsewhere."""
    for role, region in world.topology.regions.items():
        functions = [
            f.function_name for f in lambda_backends[ACCOUNT][region].list_functions()
        ]
        apis = [a.name for a in apigateway_backends[ACCOUNT][region].apis.values()]
        assert functions == [function_name(world, role)], (region, functions)
        assert apis == [function_name(world, role)], (region, apis)
    return True


def list_created(world: World) -> Iterator[str]:
    for role, region in world.topology.regions.items():
        stages = ", ".join(find_api(world, role).stages)
        yield f"{region}: cluster, function {function_name(world, role)}, stages {stages}"
    yield f"{len(iam_backends[ACCOUNT]['aws'].roles)} roles"
    yield f"{sum(len(s.secrets) for s in _secrets(world))} copies of one secret"


def is_hardened(world: World, role: str) -> bool:
    for name in ("prod", role):
        found = find_api(world, role).stages[name].to_json()
        limits = found["methodSettings"]["*/*"]
        expected = (1000, 2000) if name == "prod" else (0, 0)
        found_limits = limits["throttlingRateLimit"], limits["throttlingBurstLimit"]
        assert found_limits == expected, limits
        assert found["tracingEnabled"] is True, found
        logs = found["accessLogSettings"]
        assert logs["destinationArn"].endswith(function_name(world, role)), logs
        assert "requestId" in logs["format"], logs
        assert found["tags"]["Role"] == role, found
    prod, own = (find_api(world, role).stages[name] for name in ("prod", role))
    return bool(prod.deployment_id == own.deployment_id)


def is_invoked_by_permission(world: World, role: str) -> bool:
    """No deployed integration names an IAM role; the function admits one stage."""
    found = find_api(world, role)
    for name, each in found.stages.items():
        for integration in found.deployments[each.deployment_id].integrations.values():
            assert integration.credentials is None, (name, integration.credentials)
    region = world.topology.regions[role]
    source = f"arn:aws:execute-api:{region}:{ACCOUNT}:{found.id}"
    assert may_invoke(region, function_name(world, role), None, f"{source}/prod/GET/")
    for other in (f"{source}/{role}/GET/", f"{source[:-1]}/prod/GET/"):
        assert not may_invoke(region, function_name(world, role), None, other)
    iam_role = iam_backends[ACCOUNT]["aws"].get_role(
        f"{function_name(world, role)}-runtime"
    )
    assert "apigateway" not in json.dumps(iam_role.assume_role_policy_document)
    return True


def has_boundary(world: World) -> bool:
    """The role of every function has the boundary that is printed."""
    iam = iam_backends[ACCOUNT]["aws"]
    prefix = world.topology.prefix
    policy = iam.managed_policies[f"arn:aws:iam::{ACCOUNT}:policy/{prefix}-boundary"]
    printed = PURPOSES["boundary"](Scope(world.topology, ACCOUNT, {}))
    (version,) = policy.versions
    assert json.loads(version.document) == printed
    for role in world.topology.regions:
        iam_role = iam.get_role(f"{function_name(world, role)}-runtime")
        assert iam_role.permissions_boundary_arn == policy.arn, iam_role.name
    return True


def has_variable(world: World, role: str, name: str, value: str) -> bool:
    return bool(find_function(world, role).environment_vars.get(name) == value)


def find_signing_keys(world: World) -> set[str]:
    """The keys that the functions sign with."""
    stages = world.topology.regions
    found = [find_function(world, role).environment_vars for role in stages]
    return {variables["DJANGO_SECRET_KEY"] for variables in found}


def list_remains(world: World) -> list[str]:
    """Everything of the deployment that still exists."""
    found = [f"role {name}" for name in iam_backends[ACCOUNT]["aws"].roles]
    policies = iam_backends[ACCOUNT]["aws"].managed_policies
    found += [f"policy {arn}" for arn in policies if f":{ACCOUNT}:" in arn]
    found += [f"bucket {name}" for name in s3_backends[ACCOUNT]["aws"].buckets]
    for region in world.topology.regions.values():
        functions = lambda_backends[ACCOUNT][region].list_functions()
        found += [f"function {f.function_name} in {region}" for f in functions]
        stacks = cloudformation_backends[ACCOUNT][region].stacks.values()
        found += [f"stack {s.name} {s.status} in {region}" for s in stacks]
        groups = logs_backends[ACCOUNT][region].groups
        found += [f"log group {name} in {region}" for name in groups]
        rules = events_backends[ACCOUNT][region].event_buses["default"].rules
        found += [f"rule {name} in {region}" for name in rules]
        apis = apigateway_backends[ACCOUNT][region].apis.values()
        found += [f"API {each.name} in {region}" for each in apis]
        role = apigateway_backends[ACCOUNT][region].account.cloudwatch_role_arn
        found += [f"account role {role} in {region}"] if role else []
    found += [f"secret {name}" for each in _secrets(world) for name in each.secrets]
    kept = load(world.root / "sandbox" / CLUSTERS)["clusters"]
    return found + [
        f"cluster {cluster.identifier} in {cluster.region}"
        for cluster in kept
        if cluster.deleted is None
    ]


def _secrets(world: World) -> list[Any]:
    regions = world.topology.regions.values()
    return [secretsmanager_backends[ACCOUNT][region] for region in regions]
