"""The exact calls, checked by botocore's Stubber against the service model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber
from botocore.validate import ParamValidator

from ops import aws
from ops.clusters import inventory, plan
from ops.clusters.apply import Applier, client_token
from ops.clusters.plan import ClusterOptions
from ops.topology import Topology
from tests.control import EAST, OHIO, OREGON, World

TOPOLOGY = Topology.from_environment({})
A, B = "a" * 26, "b" * 26
ARNS = {
    A: f"arn:aws:dsql:{EAST}:123456789012:cluster/{A}",
    B: f"arn:aws:dsql:{OHIO}:123456789012:cluster/{B}",
}


def cluster(
    name: str, status: str, peers: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    """A GetCluster answer."""
    role = "primary" if name == A else "secondary"
    return {
        "identifier": name,
        "arn": ARNS[name],
        "status": status,
        "creationTime": datetime(2026, 11, 24, tzinfo=UTC),
        "deletionProtectionEnabled": True,
        "endpoint": f"{name}.dsql.{ARNS[name].split(':')[3]}.on.aws",
        "multiRegionProperties": {
            "witnessRegion": OREGON,
            "clusters": [ARNS[name], *(ARNS[peer] for peer in peers)],
        },
        "tags": TOPOLOGY.tags(role),
        **more,
    }


def made(name: str) -> dict[str, Any]:
    """A CreateCluster answer, made this second."""
    answer = cluster(name, "PENDING_SETUP")
    del answer["tags"]
    headers = {"date": "Tue, 24 Nov 2026 00:00:00 GMT"}
    return answer | {
        "ResponseMetadata": {"HTTPHeaders": headers, "HTTPStatusCode": 200}
    }


def summary(name: str, status: str) -> dict[str, Any]:
    answer = cluster(name, status)
    return {key: answer[key] for key in ("identifier", "arn", "status", "creationTime")}


@contextmanager
def stubs() -> Iterator[dict[str, Stubber]]:
    """One for each Region; every expected call must come, in its order."""
    with ExitStack() as stack:
        found = {
            r: stack.enter_context(Stubber(aws.client("dsql", r))) for r in (EAST, OHIO)
        }
        yield found
        for stub in found.values():
            stub.assert_no_pending_responses()


def expect_creation(
    stub: Stubber, identifier: str, role: str, linked: list[str], **options: str
) -> None:
    """A cluster of the pair is created, with statistics, and then read."""
    peers = {"clusters": linked} if linked else {}
    stub.add_response(
        "create_cluster",
        made(identifier),
        {
            "clientToken": client_token(TOPOLOGY, role, tuple(linked), 0),
            "deletionProtectionEnabled": True,
            "tags": TOPOLOGY.tags(role),
            "multiRegionProperties": {"witnessRegion": OREGON, **peers},
            "metricGroups": [{"metricGroup": "STATEMENT_STATISTICS"}],
            **options,
        },
    )
    expect_reading(stub, identifier, "PENDING_SETUP")


def expect_reading(
    stub: Stubber, identifier: str, status: str, peers: tuple[str, ...] = ()
) -> None:
    stub.add_response(
        "get_cluster", cluster(identifier, status, peers), {"identifier": identifier}
    )


def test_the_calls_that_make_a_pair(world: World) -> None:
    with stubs() as stub:
        for region in (EAST, OHIO):
            stub[region].add_response("list_clusters", {"clusters": []}, {})
        expect_creation(stub[EAST], A, "primary", [], kmsEncryptionKey="alias/mine")
        expect_creation(stub[OHIO], B, "secondary", [ARNS[A]])
        expect_reading(stub[EAST], A, "PENDING_SETUP")
        stub[EAST].add_response(
            "update_cluster",
            summary(A, "CREATING"),
            {
                "identifier": A,
                "multiRegionProperties": {
                    "witnessRegion": OREGON,
                    "clusters": [ARNS[B]],
                },
            },
        )
        for status in ("CREATING", "IDLE"):
            expect_reading(stub[EAST], A, status, (B,))
        expect_reading(stub[OHIO], B, "INACTIVE", (A,))

        found = inventory.take(TOPOLOGY)
        steps = plan.build(
            found, ClusterOptions({"primary": "alias/mine"}, statistics=True)
        )
        said: list[str] = []
        members = Applier(TOPOLOGY, said.append).provision(steps, found.members())
    assert {role: c.status for role, c in members.items()} == {
        "primary": "IDLE",
        "secondary": "INACTIVE",
    }
    assert any("CREATING" in line for line in said)


def test_the_calls_that_remove_a_pair(world: World) -> None:
    with stubs() as stub:
        for region, name, peer in ((EAST, A, B), (OHIO, B, A)):
            whole = cluster(name, "ACTIVE", (peer,))
            stub[region].add_response(
                "list_clusters",
                {"clusters": [{"identifier": name, "arn": ARNS[name]}]},
                {},
            )
            for _ in range(2):
                stub[region].add_response("get_cluster", whole, {"identifier": name})
            stub[region].add_response(
                "update_cluster",
                summary(name, "UPDATING"),
                {"identifier": name, "deletionProtectionEnabled": False},
            )
            free = cluster(name, "UPDATING", (peer,), deletionProtectionEnabled=False)
            stub[region].add_response("get_cluster", free, {"identifier": name})
            stub[region].add_client_error(
                "delete_cluster",
                "ConflictException",
                expected_params={"identifier": name},
            )
            stub[region].add_response("get_cluster", free, {"identifier": name})
            stub[region].add_response(
                "delete_cluster", summary(name, "PENDING_DELETE"), {"identifier": name}
            )
            stub[region].add_client_error(
                "get_cluster",
                "ResourceNotFoundException",
                expected_params={"identifier": name},
            )
        found = inventory.take(TOPOLOGY)
        Applier(TOPOLOGY, lambda _: None).destroy(found.owned)


@pytest.mark.parametrize("multi", [True, False])
def test_every_parameter_has_the_models_form(world: World, multi: bool) -> None:
    """Lengths and patterns too, which boto3 leaves to the service."""
    topology = Topology.from_environment({}, single_region=not multi)
    seen: dict[str, int] = {}

    def check(params: dict[str, Any], model: Any, **_: Any) -> None:
        report = ParamValidator().validate(params, model.input_shape)
        assert not report.has_errors(), report.generate_report()
        token = params.get("clientToken", "x")
        limits = model.input_shape.members.get("clientToken")
        assert limits is None or len(token) <= limits.metadata["max"]
        seen[model.name] = seen.get(model.name, 0) + 1

    for region in topology.regions.values():
        events = aws.client("dsql", region).meta.events
        events.register(
            "before-parameter-build.dsql",
            lambda params, model, **_: check(params, model),
        )
    found = inventory.take(topology)
    Applier(topology, lambda _: None).provision(plan.build(found, ClusterOptions()), {})
    Applier(topology, lambda _: None).destroy(inventory.take(topology).owned)
    assert inventory.take(topology).owned == ()
    expected = {
        "ListClusters",
        "GetCluster",
        "CreateCluster",
        "UpdateCluster",
        "DeleteCluster",
    }
    assert set(seen) == expected
