"""Requests to the dsql API: who may, how they are signed, and the errors they get."""

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from ops.local.sandbox.control import ACTIONS
from ops.local.sandbox.signatures import Key
from tests.control import ALL, EAST, OREGON, TIMING, World

if TYPE_CHECKING:
    pass

from tests.ops.local.sandbox.control_errors import refused


@pytest.mark.parametrize("action", ["CreateCluster", "TagResource", "PutWitnessRegion"])
def test_each_action_must_be_allowed(world: World, action: str) -> None:
    actions = tuple(name for name in ALL if name != action)
    world.keys["AKIALESS"] = Key("AKIALESS", "s", "arn:aws:iam::1:role/less", actions)
    error = refused(
        world.client(key="AKIALESS").create_cluster,
        tags={"a": "b"},
        multiRegionProperties={"witnessRegion": OREGON},
    )
    assert error["Error"]["Code"] == "AccessDeniedException"
    assert f"not authorized to perform: dsql:{action} on" in error["Error"]["Message"]


def test_refuses_wrong_signatures(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(world.client(key="AKIAFOREIGN").list_clusters)
    assert error["Error"]["Code"] == "UnrecognizedClientException"
    client = world.client()
    operator = world.keys["AKIAOPERATOR"]
    world.keys["AKIAOPERATOR"] = Key(operator.access_key, "other", operator.arn, ALL)
    error = refused(client.list_clusters)
    assert error["Error"]["Code"] == "InvalidSignatureException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403
    world.keys["AKIAOPERATOR"] = operator
    with monkeypatch.context() as patch:
        real = time.gmtime
        patch.setattr("time.gmtime", lambda *_: real(0))
        from botocore.compat import get_current_datetime

        past = get_current_datetime().replace(year=2026, month=1)
        patch.setattr("botocore.auth.get_current_datetime", lambda *_: past)
        assert "Signature expired" in refused(client.list_clusters)["Error"]["Message"]


def test_a_region_without_the_service_does_not_answer(world: World) -> None:
    with pytest.raises(ConnectionClosedError):
        world.client("us-west-1").list_clusters()


def test_raw_requests_get_the_models_errors(world: World) -> None:
    def ask(text: str) -> tuple[int, dict[str, Any]]:
        with socket.create_connection(("127.0.0.1", world.port)) as raw:
            raw.sendall(text.encode())
            raw.shutdown(socket.SHUT_WR)
            head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
            return int(head.split()[1]), json.loads(body)

    status, body = ask("GET /cluster HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, body) == (403, {"message": "Missing Authentication Token"})


def test_operations_of_other_kinds_say_that_they_are_not_served(world: World) -> None:
    error = refused(world.client().list_streams, clusterIdentifier="a" * 26)
    assert error["reason"] == "unknownOperation"


def test_faults_are_used_up(world: World) -> None:
    client = world.client()
    world.fault("api-throttled", "ListClusters")
    world.fault("api-denied", "GetCluster", region=EAST)
    world.fault("api-failed", region=EAST)
    error = refused(client.list_clusters)
    assert error["Error"]["Code"] == "ThrottlingException"
    assert error["retryAfterSeconds"] == 1
    client.list_clusters()
    made = client.create_cluster()
    assert made["status"] == "FAILED"
    error = refused(client.get_cluster, identifier=made["identifier"])
    assert "dsql:GetCluster" in error["Error"]["Message"]
    assert world.status(made) == "FAILED"
    world.now += TIMING.create
    assert world.status(client.create_cluster()) == "CREATING"


def test_answers_have_the_models_shape(world: World) -> None:
    """Each answer, judged as if it were a parameter of the model's output shape."""
    model = ServiceModel(Loader().load_service_model("dsql", "service-2"))
    seen = set()

    def check(model: Any, parsed: dict[str, Any], **_: Any) -> None:
        answer = {k: v for k, v in parsed.items() if k != "ResponseMetadata"}
        shape = model.output_shape
        if shape is None:
            assert answer == {}
            return
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), report.generate_report()
        seen.add(model.name)

    client = world.client()
    client.meta.events.register("after-call.dsql", check)
    made = client.create_cluster(deletionProtectionEnabled=False)
    name, arn = made["identifier"], made["arn"]
    world.now += TIMING.create
    client.get_cluster(identifier=name)
    client.list_clusters()
    client.tag_resource(resourceArn=arn, tags={"a": "b"})
    client.list_tags_for_resource(resourceArn=arn)
    client.untag_resource(resourceArn=arn, tagKeys=["a"])
    client.get_vpc_endpoint_service_name(identifier=name)
    client.update_cluster(identifier=name)
    world.now += TIMING.update
    client.delete_cluster(identifier=name)
    with_output = {
        name
        for name in model.operation_names
        if name in ACTIONS and model.operation_model(name).output_shape is not None
    }
    assert seen == with_output
