"""What Zappa calls (``callbacks`` in zappa_settings.json).

Zappa loads this file by its path, without the project on the import path and under
another name, and hands its own command object over. It prints a SystemExit's text.
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

from ops.aws import AwsError, patient_session
from ops.deploy import checks, function, limits, sources, wanted
from ops.deploy.gateway import Gateway, Wanted
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

# The only type of Zappa's authorizers that calls no function by a role.
COGNITO = "COGNITO_USER_POOLS"
# What needs no account, what only reads there, and what changes only what is ours.
LOCAL = {"package", "save-python-settings-file", "shell", "template"}
READING = {"status", "tail"}
CHANGING = {"deploy", "rollback", "undeploy", "update"}
# What would have the function run code; it takes none (config/on_lambda/invocations.py).
RUNNING = {"invoke", "manage"}


def settings(cli: Any) -> None:
    """Replace what zappa_settings.json cannot know, before any command runs."""
    # Zappa refuses to run without one; nothing of it is packaged.
    os.environ["VIRTUAL_ENV"] = sys.prefix
    # With --all, the stage before may have had another method put in its place.
    vars(cli).pop(cli.command, None)
    with _refusals():
        use_aws(os.environ)
        topology, options = Topology.from_environment(), Options.from_environment()
        stage = cli.api_stage
        _require_known(cli, topology)
        _limit(cli, topology)
        if cli.command not in CHANGING:
            _load(cli, topology, wanted.local(topology, options, stage))
        elif cli.command in {"deploy", "update"}:
            _prepare(cli, topology, options)
        else:
            function.require_ours(topology, stage)
            Gateway.require_own_stages(topology, stage)
            _load(cli, topology, wanted.local(topology, options, stage))
            if cli.command == "undeploy":
                _instead(cli, partial(_undeploy, topology, stage))
            elif cli.command == "rollback":
                _require_versions(topology, stage, cli.vargs["num_rollback"])


def _require_known(cli: Any, topology: Topology) -> None:
    """Raise NotReady for a stage or a command that does not fit what is deployed here."""
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
    authorizer = cli.stage_config.get("authorizer")
    if authorizer and authorizer.get("type", "TOKEN").upper() != COGNITO:
        raise NotReady(
            "Remove `authorizer` from Zappa's settings, or choose COGNITO_USER_POOLS: with "
            "another one, API Gateway would take the function's role, which is Lambda's alone."
        )


def _limit(cli: Any, topology: Topology) -> None:
    """From here to the end of the stage; with --all, each has its own time."""
    if cli.command in CHANGING:
        region, name = topology.function(cli.api_stage)
        limits.end_after(
            limits.STEP_SECONDS,
            f"zappa: {region}: {cli.command} of {name} took longer than "
            f"{limits.STEP_SECONDS // 60} minutes and was given up. See the events of the stack "
            f"{name} in the CloudFormation console, then run the command again: it goes on "
            f"from whatever is there.",
        )


def _prepare(cli: Any, topology: Topology, options: Options) -> None:
    """Everything is found and checked before Zappa touches anything."""
    stage = cli.api_stage
    options.require_access()
    if options.bytecode:
        require_interpreter(Target(options.runtime or cli.runtime, cli.architecture))
    sources.read(PROJECT)
    for role in topology.regions:  # the peer's function learns this Region's address
        function.require_ours(topology, role)
    Gateway.require_no_other(topology, stage)
    Gateway.require_own_stages(topology, stage)
    wanted.require_current_schema(topology, dict(os.environ))
    values = wanted.deployed(topology, options, stage)
    LogRole(topology, stage).require()
    variables = values["aws_environment_variables"]
    wanted.require_network(
        topology, stage, cli.stage_config.get("vpc_config"), cli.vargs["settings_file"]
    )
    checks.require_sound(topology.regions[stage], variables)
    _load(cli, topology, values)
    # For post(): Zappa writes into its own what the function has besides.
    cli.own_variables = frozenset(variables)
    # Zappa would delete the URLs that others have given the function.
    cli.zappa.delete_lambda_function_url = lambda *_: None
    _say(f"Who may call: {options.who_may_call()}.")
    _continue(cli, topology)


def _undeploy(
    topology: Topology, stage: str, *, no_confirm: bool, remove_logs: bool
) -> None:
    """In place of Zappa's, which deletes by name; see function.remove()."""
    with _refusals():
        if remove_logs:
            raise NotReady(
                f"The logs are the runtime stack's: `manage.py stack delete --stage {stage}` "
                f"removes them with it."
            )
        found = function.contents(topology, stage)
        if not found:
            _say(f"{topology.function(stage)[1]} is not deployed: nothing to remove.")
            return
        for line in found:
            _say(line)
        if not no_confirm and not agreed("This removes all of that. Go on? [y/N] "):
            raise NotReady("Nothing was removed.")
        function.remove(topology, stage)
        _say("Done.")


def _require_versions(topology: Topology, stage: str, steps: int) -> None:
    """Raise NotReady where Zappa would end with an error of its own, or do nothing."""
    published = len(function.versions(topology, stage))
    if published <= steps:
        raise NotReady(
            f"{topology.function(stage)[1]} has {published} published version(s), so there is "
            f"none {steps} before the newest. To go back, check out the older commit and "
            f"run `zappa update {stage}`; to remove a first deployment, `zappa undeploy {stage}`."
        )


def package(cli: Any) -> None:
    """Put the right archive in the place of Zappa's."""
    with _refusals():
        target = Target(cli.runtime, cli.architecture)
        bytecode = Options.from_environment().bytecode
        _say(str(build(Path(cli.zip_path), target, _say, bytecode=bytecode)))


def post(cli: Any) -> None:
    """After a deployment or an update: everything that Zappa leaves out of the API."""
    with _refusals():
        topology, options = Topology.from_environment(), Options.from_environment()
        stage = cli.api_stage
        outputs = RuntimeStack(topology, stage).outputs() or {}
        function.keep_variables(topology, stage, cli.own_variables)
        gateway = Gateway.of(topology, stage)
        if gateway is None:
            raise NotReady(f"{cli.aws_region}: {cli.lambda_name} has no API.")
        stages = tuple(dict.fromkeys((options.stage, stage)))
        gateway.harden(
            stage,
            Wanted(
                cli.lambda_name,
                stages,
                options.stage,
                outputs["AccessLogsArn"],
                topology.tags(stage),
                options.cors_origins,
            ),
        )
        url = gateway.url(options.stage)
        # The peer's front page shows this Region's health; its API may be newer than it.
        peer = topology.peer_of(stage)
        function.add_variables(topology, peer, {"PEER_URL": url})
        _say(f"{cli.aws_region}: {url}")
        _say(f"Try: curl {url}/health")
        _say(f"When both Regions are deployed: {_verification(topology, options)}")


def _verification(topology: Topology, options: Options) -> str:
    """The command that checks the whole, as far as its URLs are known."""
    found = {role: Gateway.of(topology, role) for role in topology.regions}
    urls = [
        f"--api-url {role}={gateway.url(options.stage) if gateway else 'URL'}"
        for role, gateway in found.items()
    ]
    token = "" if options.access == NONE else "API_TOKEN=… "
    return token + " ".join([manage("dsql_verify"), *urls])


def _load(cli: Any, topology: Topology, values: dict[str, Any]) -> None:
    """Have Zappa read its settings again, with these over the file's.

    The session names the Region: AWS_DEFAULT_REGION would win over Zappa's setting and
    split the deployment over two Regions.
    """
    for name, value in values.items():
        cli.override_stage_config_setting(name, value)
    region = topology.regions[cli.api_stage]
    session = patient_session(region) if cli.load_credentials else None
    cli.load_settings(cli.vargs.get("settings_file"), session)


def _continue(cli: Any, topology: Topology) -> None:
    """Make ``deploy`` and ``update`` right after whatever happened before them."""
    stage = cli.api_stage
    state = function.state(topology, stage)
    if cli.command == "deploy" and state == function.COMPLETE:
        _say(f"{cli.lambda_name} is deployed already: updating it.")
        _instead(cli, partial(_update, cli))
    if cli.command == "deploy" and state == function.PARTIAL:
        _say(
            f"{cli.lambda_name} is left from a failed deployment: making it anew. First goes:"
        )
        for line in function.contents(topology, stage):
            _say(line)
        function.remove(topology, stage)
    if cli.command == "update" and state != function.COMPLETE:
        raise NotReady(
            f"{cli.aws_region}: {cli.lambda_name} is not deployed. Run `zappa deploy {stage}`."
        )


def _update(
    cli: Any, source_zip: str | None = None, docker_image_uri: str | None = None
) -> None:
    """What ``deploy`` of a deployed function is; the arguments are deploy's."""
    cli.update(source_zip, docker_image_uri=docker_image_uri)


def _instead(cli: Any, action: Callable[..., None]) -> None:
    """Have Zappa call this for its command, then go on: with --all, to the next stage."""
    setattr(cli, cli.command, action)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (
        AwsError, ImproperlyConfigured, NotReady, SecretMissing
    ) as error:  # fmt: skip
        sys.exit(f"zappa: {error}")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - Zappa's commands have no other output
