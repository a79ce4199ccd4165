"""An AWS account on moto, with a deployment of ours in it, for the operators' commands.

The commands run in this process, those that others start too. Only what has no stand-in
on moto is left out: the package, the database and the requests to the APIs.
"""

import io
import json
import os
import shlex
import signal
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader
from django.core.management import CommandError, call_command
from moto import mock_aws
from moto.apigateway.models import apigateway_backends
from moto.awslambda.models import lambda_backends
from moto.cloudformation.models import cloudformation_backends
from moto.dsql.models import dsql_backends
from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from zappa import core
from zappa.cli import ZappaCLI

from ops import aws
from ops.clusters import login
from ops.deploy import deployment, package, preflight, settings, sources
from ops.paths import PROJECT
from ops.sandbox_status import DIRECTORY_VARIABLE
from ops.stacks.boundary import Boundary
from ops.stacks.log_role import LogRole
from ops.stacks.runtime import RuntimeStack
from ops.topology import Topology
from tests.rehearsal.moto_gaps import repair

PREFIX = "shop"
TOPOLOGY = Topology.from_environment({"CLUSTER_NAME_PREFIX": PREFIX})
EAST, OHIO = TOPOLOGY.regions.values()
NAME = f"{PREFIX}-primary"
ACCOUNT = "123456789012"
repair_once = cache(repair)
LOADER = Loader()  # reads the service models once for all tests


class Refused(Exception):
    """A command ended with an error; its text."""


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        out.writestr("handler.py", "def lambda_handler(event, context): ...")
    return content.getvalue()


def api_template(role: str) -> str:
    """The API of Zappa's template, without its methods."""
    properties = {
        "Name": TOPOLOGY.function(role)[1],
        "Description": f"{PREFIX}: the users API, {role} Region",
        "EndpointConfiguration": {"Types": ["REGIONAL"]},
    }
    api = {"Type": "AWS::ApiGateway::RestApi", "Properties": properties}
    return json.dumps({"Resources": {"Api": api}})


def invocations(region: str) -> str:
    """The integration's URI, as Zappa makes it, of the function of that Region."""
    (name,) = [n for r, n in map(TOPOLOGY.function, TOPOLOGY.regions) if r == region]
    function = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"
    path = "2015-03-31/functions"
    return f"arn:aws:apigateway:{region}:lambda:path/{path}/{function}/invocations"


def listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Account:
    """Empty at first. Its commands raise Refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.monkeypatch, self.folder = monkeypatch, folder
        self.lines: list[str] = []  # what `deploy` and `destroy` ran

    def client(self, service: str, region: str = EAST) -> Any:
        return aws.client(service, region)

    # What is ours

    def provision(self) -> dict[str, str]:
        """Both clusters, peered; their ARNs by role."""
        arns: dict[str, str] = {}
        for role, region in TOPOLOGY.regions.items():
            made = self.client("dsql", region).create_cluster(
                multiRegionProperties={
                    "witnessRegion": TOPOLOGY.witness, "clusters": list(arns.values())
                },
                tags=TOPOLOGY.tags(role),
                deletionProtectionEnabled=False,
            )  # fmt: skip
            arns[role] = made["arn"]
        self.client("dsql").update_cluster(
            identifier=arns["primary"].rpartition("/")[2],
            multiRegionProperties={
                "witnessRegion": TOPOLOGY.witness, "clusters": [arns["secondary"]]
            },
        )  # fmt: skip
        return arns

    def make_stacks(self) -> None:
        arns = self.provision()
        Boundary(TOPOLOGY).apply(lambda _: None)
        for role in TOPOLOGY.regions:
            stack = RuntimeStack(TOPOLOGY, role)
            stack.apply(
                stack.plan_for(arns, in_vpc=False, say=lambda _: None), lambda _: None
            )
            LogRole(TOPOLOGY, role).apply(lambda _: None)

    def deploy(self) -> None:
        """Everything that a deployment makes, in both Regions."""
        self.make_stacks()
        for role in TOPOLOGY.regions:
            self.make_function(role, TOPOLOGY.tags(role))
            self.make_api(role, TOPOLOGY.tags(role))

    def make_function(self, role: str, tags: dict[str, str], **more: Any) -> None:
        region, name = TOPOLOGY.function(role)
        outputs = RuntimeStack(TOPOLOGY, role).outputs() or {}
        self.client("lambda", region).create_function(
            FunctionName=name, Runtime="python3.13", Handler="handler.lambda_handler",
            Role=outputs.get("RoleArn") or self.role(), Code={"ZipFile": archive()},
            Environment={"Variables": {"API_AUTH": "none"}}, Tags=tags, Publish=True,
            **more,
        )  # fmt: skip

    def make_api(self, role: str, tags: dict[str, str]) -> None:
        """Zappa's stack with an API in it, and the stages."""
        region, name = TOPOLOGY.function(role)
        self.client("cloudformation", region).create_stack(
            StackName=name,
            TemplateBody=api_template(role),
            Tags=listed({**tags, "ZappaProject": name}),
        )
        self.make_stages(region, self.api_of(region, name))

    def api_of(self, region: str, stack: str) -> str:
        found = self.client("cloudformation", region).describe_stack_resource(
            StackName=stack, LogicalResourceId="Api"
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def make_stages(self, region: str, api: str) -> None:
        gateway = self.client("apigateway", region)
        (root,) = gateway.get_resources(restApiId=api)["items"]
        names = {"restApiId": api, "resourceId": root["id"], "httpMethod": "ANY"}
        gateway.put_method(**names, authorizationType="NONE")
        gateway.put_integration(
            **names, type="AWS_PROXY", integrationHttpMethod="POST",
            uri=invocations(region), credentials=self.role(),
        )  # fmt: skip
        made = gateway.create_deployment(restApiId=api, stageName="primary")
        gateway.create_stage(restApiId=api, stageName="prod", deploymentId=made["id"])

    def role(self, name: str = "another-role") -> str:
        client = self.client("iam")
        try:
            return str(client.get_role(RoleName=name)["Role"]["Arn"])
        except client.exceptions.NoSuchEntityException:
            made = client.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
            return str(made["Role"]["Arn"])

    def settings_file(self, **more: dict[str, Any]) -> Path:
        """For ``zappa -s``: the project's, with more in each named stage."""
        settings = json.loads((PROJECT / "zappa_settings.json").read_text())
        for stage, values in more.items():
            settings[stage].update(values)
        path = self.folder / "settings.json"
        path.write_text(json.dumps(settings))
        return path

    def photograph(self) -> dict[str, str]:
        """Everything in the account, by kind, Region and name."""
        return {
            f"{kind} {region} {name}": json.dumps(content, default=str, sort_keys=True)
            for region in TOPOLOGY.regions.values()
            for kind, name, content in photograph(region)
        }

    def left(self) -> list[str]:
        """What a removal has left: metrics and traces aside, nothing."""
        photo = self.photograph()
        return [
            name
            for name, content in photo.items()
            if not name.startswith("change set") and content not in {'""', "null"}
        ]

    # Its commands

    def zappa(self, line: str) -> str:
        """What the command printed. Raises Refused."""
        out = io.StringIO()
        cli = ZappaCLI()
        try:
            with redirect_stdout(out), warnings.catch_warnings():
                # Zappa loads its callbacks by a method that Python will drop.
                warnings.filterwarnings("ignore", r"the load_module\(\) method")
                cli.handle(shlex.split(line))
        except SystemExit as ended:
            if ended.code not in {0, None}:
                raise Refused(f"{out.getvalue()}{ended.code}") from ended
        finally:
            signal.alarm(0)  # of the process that it would be
        return out.getvalue()

    def manage(self, line: str) -> str:
        """What the command printed. Raises Refused."""
        out = io.StringIO()
        try:
            call_command(*shlex.split(line), stdout=out, stderr=out)
        except CommandError as error:
            raise Refused(f"{out.getvalue()}{error}") from error
        return out.getvalue()

    def run(self, line: str) -> str:
        program, _, rest = line.partition(" ")
        return self.zappa(rest) if program == "zappa" else self.manage(rest)

    def run_step(self, name: str, arguments: Sequence[str]) -> None:
        """In place of a process that `deploy` and `destroy` start."""
        line = shlex.join([name, *arguments])
        self.lines.append(line)
        if arguments[0] in {"dsql_database", "dsql_verify"}:
            return
        try:
            self.run(line)
        except Refused as error:
            raise deployment.StepFailed(f"`{line}`: {error}") from error


def photograph(region: str) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and content of everything in that Region."""
    for stack in cloudformation_backends[ACCOUNT][region].stacks.values():
        yield "stack", stack.stack_id, [stack.status, stack.tags, stack.template]
    for change in cloudformation_backends[ACCOUNT][region].change_sets.values():
        yield "change set", change.change_set_id, change.stack.stack_id
    for each in lambda_backends[ACCOUNT][region].list_functions():
        found = {**each.get_configuration(), "LastModified": "", "RevisionId": ""}
        yield "function", each.function_name, [found, each.tags]
        yield "permissions", each.function_name, each.policy.statements
    gateway = apigateway_backends[ACCOUNT][region]
    yield "account", "logging role", gateway.account.cloudwatch_role_arn
    for api in gateway.apis.values():
        stages = {name: stage.to_json() for name, stage in api.stages.items()}
        yield "API", api.id, [api.to_dict(), stages]
    for secret in secretsmanager_backends[ACCOUNT][region].secrets.values():
        yield "secret", secret.arn, [secret.tags, secret.versions]
    yield from _photograph_others(region)


def _photograph_others(region: str) -> Iterator[tuple[str, str, Any]]:
    for name, group in logs_backends[ACCOUNT][region].groups.items():
        yield "log group", name, [group.creation_time, list(group.streams)]
    for rule in events_backends[ACCOUNT][region].event_buses["default"].rules.values():
        yield "rule", rule.name, rule.targets
    for cluster in dsql_backends[ACCOUNT][region].clusters.values():
        going = cluster.status == "DELETING"
        yield "cluster", cluster.identifier, [going, cluster.arn, cluster.tags]
    storage = s3_backends[ACCOUNT]["aws"]
    for name, bucket in storage.buckets.items():
        if bucket.region_name == region:
            tags = storage.tagger.list_tags_for_resource(bucket.arn)
            yield "bucket", name, [tags, bucket.creation_date, list(bucket.keys)]
    for role in iam_backends[ACCOUNT]["aws"].roles.values():
        yield "role", role.name, [role.id, role.policies]
    for policy in iam_backends[ACCOUNT]["aws"].managed_policies.values():
        if ":aws:policy/" not in policy.arn:  # AWS's own
            documents = [version.document for version in policy.versions]
            yield "policy", policy.arn, [policy.tags, documents]


def package_nothing(path: Path, *_: Any, **__: Any) -> str:
    path.write_bytes(archive())
    return "an empty package"


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Account]:
    """An account of its own, and an operator's shell that leads to it."""
    repair_once()
    # With DIRECTORY_VARIABLE, Zappa's callback takes API_AUTH for the tests' own sandbox's.
    for name in (
        "AWS_PROFILE", "AWS_ENDPOINT_URL_DSQL", "AWS_DEFAULT_REGION", DIRECTORY_VARIABLE,
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLUSTER_NAME_PREFIX", PREFIX)
    monkeypatch.setenv("API_AUTH", "none")
    monkeypatch.setenv("VIRTUAL_ENV", "another")
    # A Python that is sure to run here.
    monkeypatch.setenv("LAMBDA_RUNTIME", "python{}.{}".format(*sys.version_info))
    # Zappa writes its templates where it runs.
    for name in ("ops", "zappa_settings.json"):
        (folder / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)
    monkeypatch.setattr(ZappaCLI, "check_for_update", lambda _: None)
    monkeypatch.setattr(ZappaCLI, "create_package", _create_package(folder))
    monkeypatch.setattr(core.Zappa, "boto_client", _client)
    monkeypatch.setattr(core.Zappa, "boto_resource", _resource)
    monkeypatch.setattr(aws, "_session", cache(_session))
    monkeypatch.setattr("time.sleep", lambda _: None)  # moto is ready at once
    # A developer's tree may hold what is not committed yet.
    monkeypatch.setattr(sources, "read", lambda _: sources.Sources("a commit", {}, ""))
    monkeypatch.setattr(package, "build", package_nothing)
    monkeypatch.setattr(preflight, "require_sound", lambda *_: None)
    monkeypatch.setattr(settings, "require_current_schema", lambda *_: None)
    monkeypatch.setattr(deployment, "_get", lambda _: "200")
    monkeypatch.setattr(login, "log_in", lambda *_: None)
    with mock_aws():
        account = Account(monkeypatch, folder)
        monkeypatch.setattr(
            deployment.Deployment,
            "_run",
            lambda _, __, name, rest: account.run_step(name, rest),
        )
        # Zappa's settings callback makes AWS the target of its whole process.
        before = dict(os.environ)
        yield account
        os.environ.clear()
        os.environ.update(before)


def _create_package(folder: Path) -> Any:
    def create_package(cli: Any, *_: Any, **__: Any) -> None:
        cli.zip_path = str(folder / f"{cli.lambda_name}.zip")
        Path(cli.zip_path).write_bytes(archive())
        cli.handler_path = None

    return create_package


@cache
def _session() -> Any:
    """One for all accounts: moto's are told apart behind the clients, which take long."""
    return boto3.Session()


@cache
def _iam() -> Any:
    return _session().resource("iam")


def _resource(zappa: Any, service: str, *_: Any, **__: Any) -> Any:
    assert service == "iam"
    return _iam()


def _client(zappa: Any, service: str, *_: Any, **__: Any) -> Any:
    """Zappa makes sixteen clients each time that it reads its settings."""
    return aws.client(service, zappa.boto_session.region_name)
