"""The callbacks of Zappa (``callbacks`` in zappa_settings.json).

Zappa loads this file by its path, without the project on the import path and under
another name, and passes its own command object. It prints the text of a SystemExit.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from django.core.exceptions import ImproperlyConfigured

from ops import aws
from ops.aws import AwsError, make_session
from ops.deploy import function, limits, preflight, sources
from ops.deploy import settings as zappa_settings
from ops.deploy.function import Function
from ops.deploy.gateway import Gateway, StageOptions
from ops.deploy.invocation import permit_schedule
from ops.deploy.options import NONE, Options, unfit_settings
from ops.deploy.package import build
from ops.deploy.runtime import Target, require_interpreter
from ops.ownership import NotReady
from ops.paths import PROJECT
from ops.prompt import agreed
from ops.stacks.log_role import LogRole
from ops.stacks.runtime import RuntimeStack
from ops.stacks.secret import SecretMissing
from ops.target import manage, use_aws
from ops.topology import Topology

# The only type of Zappa's authorizers that calls no function through a role.
COGNITO = "COGNITO_USER_POOLS"
# Commands that need no account, that only read, and that change only our own resources.
LOCAL = {"package", "save-python-settings-file", "shell", "template"}
READING = {"status", "tail"}
CHANGING = {"deploy", "rollback", "undeploy", "update"}
# Commands that would have the function run code, which it does not accept
# (config/on_lambda/invocations.py).
RUNNING = {"invoke", "manage"}
# Zappa's options that deploy code which was not built from the commit.
READY_MADE = ("zip", "docker_image_uri")


def settings(cli: Any) -> None:
    """Set what zappa_settings.json cannot know, before any command runs."""
    # Zappa refuses to run without one; nothing of it is packaged.
    os.environ["VIRTUAL_ENV"] = sys.prefix
    # With --all, the previous stage may have left a replacement for the command.
    vars(cli).pop(cli.command, None)
    with _exit_on_refusal():
        use_aws(os.environ)
        topology, options = Topology.from_environment(), Options.from_environment()
        role = cli.api_stage
        _require_supported(cli, topology)
        _limit(cli, topology)
        if cli.command not in CHANGING:
            _load(cli, topology, zappa_settings.build_offline(topology, options, role))
        elif cli.command in {"deploy", "update"}:
            _prepare(cli, topology, options)
        else:
            Function(topology, role).require_ours()
            Gateway.require_own_stages(topology, role)
            _load(cli, topology, zappa_settings.build_offline(topology, options, role))
            if cli.command == "undeploy":
                _replace_command(cli, partial(_undeploy, topology, role))
            elif cli.command == "rollback":
                _require_versions(topology, role, cli.vargs["num_rollback"])


def _require_supported(cli: Any, topology: Topology) -> None:
    """Raise NotReady for a stage, command or option that does not fit this deployment."""
    if cli.api_stage not in topology.regions:
        raise NotReady(f"Stage {cli.api_stage!r} is no role; use primary or secondary.")
    if cli.command in RUNNING:
        raise NotReady(
            f"`zappa {cli.command}` does not fit: the function runs no code for whoever may "
            f"invoke it. Use `{manage('COMMAND')}` here. Nothing was done."
        )
    if cli.command not in LOCAL | READING | CHANGING:
        raise NotReady(
            f"`zappa {cli.command}` does not fit: it changes rules and permissions by name, or "
            f"makes a domain of one Region. Nothing was changed."
        )
    if unfit := unfit_settings(cli.stage_config):
        raise NotReady(
            f"Remove {', '.join(unfit)} from Zappa's settings: a deployment changes nothing by "
            f"its name, has one way in, and gets its variables, credentials and addresses "
            f"from the environment. Nothing was changed."
        )
    if ready_made := [name for name in READY_MADE if cli.vargs.get(name)]:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in ready_made)
        raise NotReady(
            f"Remove {options}: a deployment ships the package that it builds from the commit "
            f"after all checks, and no other. Nothing was changed."
        )
    authorizer = cli.stage_config.get("authorizer")
    if authorizer and authorizer.get("type", "TOKEN").upper() != COGNITO:
        raise NotReady(
            "Remove `authorizer` from Zappa's settings, or choose COGNITO_USER_POOLS: with "
            "another one, API Gateway would take the function's role, which is Lambda's alone."
        )


def _limit(cli: Any, topology: Topology) -> None:
    """Limit the time until the stage is done; with --all, each stage has its own."""
    if cli.command in CHANGING:
        region, name = topology.function(cli.api_stage)
        limits.end_after(
            limits.STEP_SECONDS,
            f"zappa: {region}: {cli.command} of {name} took longer than "
            f"{limits.STEP_SECONDS // 60} minutes and was given up. See the events of the stack "
            f"{name} in the CloudFormation console, then run the command again: it continues "
            f"from the current state.",
        )


def _prepare(cli: Any, topology: Topology, options: Options) -> None:
    """Read and check everything before Zappa changes anything."""
    role = cli.api_stage
    options.require_access()
    if options.bytecode:
        require_interpreter(Target(options.runtime or cli.runtime, cli.architecture))
    sources.read(PROJECT)
    for each in topology.regions:  # the peer's function gets the URL of this Region
        Function(topology, each).require_ours()
    Gateway.require_no_other(topology, role)
    Gateway.require_own_stages(topology, role)
    zappa_settings.require_current_schema(topology, dict(os.environ))
    values = zappa_settings.build(topology, options, role)
    LogRole(topology, role).require()
    variables = values["aws_environment_variables"]
    zappa_settings.require_network(
        topology, role, cli.stage_config.get("vpc_config"), cli.vargs["settings_file"]
    )
    preflight.require_sound(topology.regions[role], variables)
    _load(cli, topology, values)
    # For post(): Zappa adds the function's existing variables to its own.
    cli.own_variables = frozenset(variables)
    # Zappa would delete function URLs that others have added.
    cli.zappa.delete_lambda_function_url = lambda *_: None
    _say(f"Who may call: {options.who_may_call()}.")
    _continue(cli, topology)


def _undeploy(
    topology: Topology, role: str, *, no_confirm: bool, remove_logs: bool
) -> None:
    """Replaces Zappa's undeploy, which deletes by name; see Function.remove()."""
    with _exit_on_refusal():
        if remove_logs:
            raise NotReady(
                f"The logs belong to the runtime stack: `manage.py stack delete --role {role}` "
                f"removes them with it."
            )
        found = Function(topology, role).contents()
        if not found:
            _say(f"{topology.function(role)[1]} is not deployed: nothing to remove.")
            return
        for line in found:
            _say(line)
        if not no_confirm and not agreed(
            "This removes all of the above. Go on? [y/N] "
        ):
            raise NotReady("Nothing was removed.")
        Function(topology, role).remove()
        _say("Done.")


def _require_versions(topology: Topology, role: str, steps: int) -> None:
    """Raise NotReady where Zappa would fail with a poor message, or do nothing."""
    published = len(Function(topology, role).versions())
    if published <= steps:
        raise NotReady(
            f"{topology.function(role)[1]} has {published} published version(s), so there is "
            f"none {steps} before the newest. To go back, check out the older commit and "
            f"run `zappa update {role}`; to remove a first deployment, `zappa undeploy {role}`."
        )


def package(cli: Any) -> None:
    """Replace Zappa's archive with our package."""
    with _exit_on_refusal():
        target = Target(cli.runtime, cli.architecture)
        bytecode = Options.from_environment().bytecode
        _say(str(build(Path(cli.zip_path), target, _say, bytecode=bytecode)))


def post(cli: Any) -> None:
    """After a deployment or an update: set everything that Zappa leaves out of the API."""
    with _exit_on_refusal():
        topology, options = Topology.from_environment(), Options.from_environment()
        role = cli.api_stage
        outputs = RuntimeStack(topology, role).outputs() or {}
        Function(topology, role).keep_variables(cli.own_variables)
        with aws.explained():
            permit_schedule(
                cli.aws_region, cli.lambda_name, outputs["MaintenanceRuleArn"]
            )
        gateway = Gateway.find(topology, role)
        if gateway is None:
            raise NotReady(f"{cli.aws_region}: {cli.lambda_name} has no API.")
        stages = tuple(dict.fromkeys((options.public_stage, role)))
        gateway.harden(
            role,
            StageOptions(
                cli.lambda_name,
                stages,
                options.public_stage,
                outputs["AccessLogsArn"],
                topology.tags(role),
                options.cors_origins,
            ),
        )
        url = gateway.url(options.public_stage)
        # The peer's front page shows this Region's health; this API may be newer than the peer.
        peer = topology.peer_of(role)
        Function(topology, peer).add_variables({"PEER_URL": url})
        _say(f"{cli.aws_region}: {url}")
        _say(f"Try: curl {url}/health")
        _say(f"When both Regions are deployed: {_verification(topology, options)}")


def _verification(topology: Topology, options: Options) -> str:
    """The command that checks both Regions, with the URLs that are known."""
    gateways = {role: Gateway.find(topology, role) for role in topology.regions}
    urls = [
        f"--api-url {role}={gateway.url(options.public_stage) if gateway else 'URL'}"
        for role, gateway in gateways.items()
    ]
    token = "" if options.access == NONE else "API_TOKEN=… "
    return token + " ".join([manage("dsql_verify"), *urls])


def _load(cli: Any, topology: Topology, values: dict[str, Any]) -> None:
    """Have Zappa read its settings again; these override the file's.

    The session names the Region: AWS_DEFAULT_REGION would win over Zappa's setting and
    split the deployment over two Regions.
    """
    for name, value in values.items():
        cli.override_stage_config_setting(name, value)
    region = topology.regions[cli.api_stage]
    session = make_session(region) if cli.load_credentials else None
    cli.load_settings(cli.vargs.get("settings_file"), session)


def _continue(cli: Any, topology: Topology) -> None:
    """Make ``deploy`` and ``update`` work from any earlier state."""
    role = cli.api_stage
    state = Function(topology, role).state()
    if cli.command == "deploy" and state == function.COMPLETE:
        _say(f"{cli.lambda_name} is deployed already: updating it.")
        _replace_command(cli, partial(_update, cli))
    if cli.command == "deploy" and state == function.PARTIAL:
        _say(
            f"{cli.lambda_name} is left from a failed deployment and is made again. Removing first:"
        )
        for line in Function(topology, role).contents():
            _say(line)
        Function(topology, role).remove()
    if cli.command == "update" and state != function.COMPLETE:
        raise NotReady(
            f"{cli.aws_region}: {cli.lambda_name} is not deployed. Run `zappa deploy {role}`."
        )


def _update(
    cli: Any, source_zip: str | None = None, docker_image_uri: str | None = None
) -> None:
    """Run instead of ``deploy`` when the function exists; takes deploy's arguments."""
    cli.update(source_zip, docker_image_uri=docker_image_uri)


def _replace_command(cli: Any, action: Callable[..., None]) -> None:
    """Have Zappa call this for its command; with --all it then goes on to the next stage."""
    setattr(cli, cli.command, action)


@contextmanager
def _exit_on_refusal() -> Iterator[None]:
    try:
        yield
    except (
        AwsError, ImproperlyConfigured, NotReady, SecretMissing
    ) as error:  # fmt: skip
        sys.exit(f"zappa: {error}")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - Zappa's commands have no other output
