"""What Zappa calls (``callbacks`` in zappa_settings.json).

Zappa loads this file by its path, without the project on the import path and under
another name, and hands its own command object over. It prints a SystemExit's text.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import boto3
from django.core.exceptions import ImproperlyConfigured

from ops.aws import AwsError
from ops.deploy import function, wanted
from ops.deploy.found import NotReady
from ops.deploy.gateway import Gateway, Wanted
from ops.deploy.options import Options
from ops.deploy.package import Target, build
from ops.deploy.sources import PackageError
from ops.stacks.runtime import RuntimeStack
from ops.stacks.secret import SecretMissing
from ops.target import manage, use_aws
from ops.topology import Topology


def settings(cli: Any) -> None:
    """Replace what zappa_settings.json cannot know, before any command runs."""
    # Zappa refuses to run without one; nothing of it is packaged.
    os.environ["VIRTUAL_ENV"] = sys.prefix
    with _refusals():
        use_aws(os.environ)
        topology, options = Topology.from_environment(), Options.from_environment()
        stage = cli.api_stage
        if stage not in topology.regions:
            raise NotReady(f"Stage {stage!r} is no role; use primary or secondary.")
        deploys = cli.command in {"deploy", "update"}
        if deploys:
            options.require_access()
            wanted.require_current_schema(topology, dict(os.environ))
            values = wanted.deployed(topology, options, stage)
            _load(cli, topology, values)
            _continue(cli, values["aws_environment_variables"])
        else:
            _load(cli, topology, wanted.local(topology, options, stage))


def package(cli: Any) -> None:
    """Put the right archive in the place of Zappa's."""
    with _refusals():
        target = Target(cli.runtime, cli.architecture)
        _say(str(build(Path(cli.zip_path), target, _say)))


def post(cli: Any) -> None:
    """After a deployment or an update: everything that Zappa leaves out of the API."""
    with _refusals():
        topology, options = Topology.from_environment(), Options.from_environment()
        stage = cli.api_stage
        outputs = RuntimeStack(topology, stage).outputs() or {}
        gateway = Gateway(cli.aws_region, cli.zappa.get_api_id(cli.lambda_name))
        stages = tuple(dict.fromkeys((options.stage, stage)))
        gateway.harden(
            stage,
            Wanted(
                stages,
                options.stage,
                outputs["AccessLogsArn"],
                topology.tags(stage),
                options.cors_origins,
            ),
        )
        url = gateway.url(options.stage)
        # The peer's front page shows this Region's health; its API may be newer than it.
        peer = topology.function(topology.peer_of(stage))
        function.add_variables(*peer, {"PEER_URL": url})
        _say(f"{cli.aws_region}: {url}")
        _say(f"Try: curl {url}/health")
        _say(f"When both Regions are deployed: {_verification(topology, options)}")


def _verification(topology: Topology, options: Options) -> str:
    """The command that checks the whole, as far as its URLs are known."""
    found = {role: Gateway.of(*topology.function(role)) for role in topology.regions}
    urls = [
        f"--api-url {role}={gateway.url(options.stage) if gateway else 'URL'}"
        for role, gateway in found.items()
    ]
    return " ".join([manage("dsql_verify"), *urls])


def _load(cli: Any, topology: Topology, values: dict[str, Any]) -> None:
    """Have Zappa read its settings again, with these over the file's.

    The session names the Region: AWS_DEFAULT_REGION would win over Zappa's setting and
    split the deployment over two Regions.
    """
    for name, value in values.items():
        cli.override_stage_config_setting(name, value)
    region = topology.regions[cli.api_stage]
    session = boto3.Session(region_name=region) if cli.load_credentials else None
    cli.load_settings(cli.vargs.get("settings_file"), session)


def _continue(cli: Any, variables: Mapping[str, str]) -> None:
    """Make ``deploy`` and ``update`` right after whatever happened before them."""
    state = function.state(cli.aws_region, cli.lambda_name)
    if state == function.COMPLETE:
        function.keep_variables(cli.aws_region, cli.lambda_name, variables)
    if cli.command == "deploy" and state == function.COMPLETE:
        _say(f"{cli.lambda_name} is deployed already: updating it.")
        cli.update()
        sys.exit(0)
    if cli.command == "deploy" and state == function.PARTIAL:
        _say(f"{cli.lambda_name} is left from a failed deployment: making it anew.")
        function.remove(cli.aws_region, cli.lambda_name)
    if cli.command == "update" and state != function.COMPLETE:
        raise NotReady(
            f"{cli.aws_region}: {cli.lambda_name} is not deployed. Run `zappa deploy "
            f"{cli.api_stage}`."
        )


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (
        AwsError, ImproperlyConfigured, NotReady, PackageError, SecretMissing
    ) as error:  # fmt: skip
        sys.exit(f"zappa: {error}")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - Zappa's commands have no other output
