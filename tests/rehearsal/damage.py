"""Changes from outside that a deployment has to undo or to respect."""

from moto.awslambda.models import lambda_backends

from tests.rehearsal.gateway import ACCOUNT
from tests.rehearsal.state import find_api, find_function, function_name
from tests.rehearsal.world import World


def put_role_into_integrations(world: World, role: str) -> None:
    """As Zappa's stack does when its template has changed."""
    for resource in find_api(world, role).resources.values():
        for method in resource.resource_methods.values():
            if method.method_integration is not None:
                method.method_integration.credentials = find_function(world, role).role


def spoil_stage(world: World, role: str) -> None:
    """As somebody in the console would."""
    found = find_api(world, role).stages["prod"]
    found.method_settings, found.access_log_settings = {}, None
    find_function(world, role).environment_vars["LEFT_OVER"] = "1"


def leave_half_a_deployment(world: World, role: str) -> None:
    """A function without its API: what a deployment leaves that fails in the middle."""
    region = world.topology.regions[role]
    code = find_function(world, "primary")
    lambda_backends[ACCOUNT][region].create_function(
        {
            "FunctionName": function_name(world, role),
            "Handler": code.handler,
            "Role": code.role,
            "Runtime": code.run_time,
            "Code": {"ZipFile": code.code_bytes},
            "Publish": True,
        }
    )


def tag_as_ours(world: World, role: str) -> None:
    function = find_function(world, role)
    region = world.topology.regions[role]
    tags = world.topology.tags(role)
    lambda_backends[ACCOUNT][region].tag_resource(function.function_arn, tags)
