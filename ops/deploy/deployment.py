"""A whole deployment and its removal: each step is a command an operator could type."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ops import aws
from ops.clusters import inventory
from ops.deploy import function, limits, preflight, settings, sources
from ops.deploy.function import Function
from ops.deploy.gateway import Gateway
from ops.deploy.options import NONE, Options, default_runtime
from ops.deploy.runtime import Target, require_interpreter
from ops.ownership import NotReady
from ops.paths import MANAGE, PROJECT
from ops.stacks.boundary import Boundary
from ops.stacks.log_role import LogRole
from ops.stacks.runtime import RuntimeStack
from ops.target import manage
from ops.topology import PRIMARY, Topology

LISTED = "/users?limit=1"
SMOKE_ATTEMPTS, SMOKE_PAUSE = 15, 2.0  # a new stage responds after some seconds
RECHECK_ATTEMPTS = 3  # for a function that has served before
# Longer than Zappa's own limit, whose message says more.
ZAPPA_SECONDS = limits.STEP_SECONDS + 60
SMOKE_SECONDS = 35.0  # a cold start included
Say = Callable[[str], None]


class StepFailed(Exception):
    """A step failed; says which, and what was done about it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A function before a deployment; the version matters only if it was complete."""

    state: str
    version: int
    settings: Mapping[str, Any]

    @property
    def access(self) -> str:
        """The API_AUTH that the function had."""
        variables = self.settings.get("Environment", {}).get("Variables", {})
        return str(variables.get("API_AUTH", ""))


class Deployment:
    """The deployment of one topology: to both Regions, and its removal from both."""

    def __init__(
        self, topology: Topology, options: Options, say: Say,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.topology, self.options = topology, options
        self.say, self.sleep = say, sleep

    def deploy(self, confirm: Callable[[], None] = lambda: None) -> None:
        """Create or update everything. After a failure both functions are as they were.

        ``confirm`` is called after every check; what it raises ends the deployment. Raises StepFailed, and ImproperlyConfigured or NotReady before
        anything is created.
        """
        self.options.require_access()
        if self.options.bytecode:
            runtime = self.options.runtime or default_runtime()
            require_interpreter(Target(runtime, "x86_64"))
        for role, region in self.topology.regions.items():
            variables = settings.preview_variables(self.topology, self.options, role)
            preflight.require_sound(region, variables)
        self._require_token()
        self._require_ours()
        if remark := sources.read(PROJECT).remark:
            self.say(remark)
        self.say(f"Who may call: {self.options.who_may_call()}.")
        confirm()
        self._manage("dsql_provision")
        for role in self.topology.regions:
            self._manage("stack", "deploy", "--role", role)
        self._manage("dsql_database")
        self._deploy_functions()
        self._verify()

    def destroy(self, confirm: Callable[[], None] = lambda: None) -> None:
        """Remove everything, including the data, and say what remains.

        Says first what exists; then ``confirm`` may raise. Raises StepFailed, and
        NotReady before anything is removed when something is not ours.
        """
        contents = self._contents()
        if not contents:
            self.say(f"Nothing of {self.topology.prefix} exists: nothing to delete.")
            return
        for line in contents:
            self.say(line)
        confirm()
        roles = list(self.topology.regions)[::-1]
        for role in roles:
            if Function(self.topology, role).contents():
                self._zappa("undeploy", role, "--yes")
        for role in roles:
            self._manage("stack", "delete", "--role", role, "--yes")
        self._manage("dsql_destroy", "--yes", "--prefix", self.topology.prefix)
        self._say_what_remains()

    def _require_token(self) -> None:
        self.options.require_token()
        if refused := self._token_refusal():
            raise ImproperlyConfigured(
                f"API_TOKEN would be refused: {refused} Nothing was changed."
            )

    def _token_refusal(self) -> str:
        if self.options.access == NONE:
            return ""
        region = self.topology.regions[PRIMARY]
        variables = settings.preview_variables(self.topology, self.options, PRIMARY)
        return preflight.refusal(region, variables, self.options.token)

    def _verify(self) -> None:
        """Check both Regions; a token that has expired meanwhile does not count as a failure."""
        urls = [f"--api-url={role}={url}" for role, url in self._urls().items()]
        if refused := self._token_refusal():
            self.say(
                f"API_TOKEN is no longer accepted: {refused} The check that reads the user of one "
                f"Region in the other is skipped; to run it with a fresh token: {manage('dsql_verify')} {' '.join(urls)}"
            )
            urls.append("--api-token=")
        self._manage("dsql_verify", "--yes", *urls)

    def _require_ours(self) -> None:
        """Raise NotReady when anything has one of our names and is not ours."""
        for role in self.topology.regions:
            Function(self.topology, role).require_ours()
            Gateway.require_no_other(self.topology, role)
            Gateway.require_own_stages(self.topology, role)
            RuntimeStack(self.topology, role).contents()
            LogRole(self.topology, role).pending()
        Boundary(self.topology).contents()

    def _contents(self) -> list[str]:
        """Everything that exists, one line each.

        Raises NotReady when something is not ours, or several clusters claim one role.
        """
        clusters = inventory.take(self.topology)
        if duplicates := clusters.describe_duplicates():
            raise NotReady(duplicates)
        for role in self.topology.regions:
            Gateway.require_own_stages(self.topology, role)
        found = [
            line
            for role in self.topology.regions
            for line in (
                *Function(self.topology, role).contents(),
                *RuntimeStack(self.topology, role).contents(),
            )
        ]
        return [
            *found,
            *Boundary(self.topology).contents(),
            *(f"{each.region}: cluster {each.described}" for each in clusters.owned),
        ]

    def _deploy_functions(self) -> None:
        before: dict[str, Snapshot] = {}
        try:
            for role in self.topology.regions:
                before[role] = self._take_snapshot(role)
                self._zappa("deploy", role)
                # The other Region is changed only when this one serves.
                self._smoke(role, self.options.access)
        except (StepFailed, NotReady, aws.AwsError, KeyboardInterrupt) as failed:
            reason = str(failed) or "Interrupted."
            raise StepFailed(f"{reason} {self._restore(before)}") from failed

    def _take_snapshot(self, role: str) -> Snapshot:
        now = Function(self.topology, role)
        return Snapshot(now.state(), now.latest_version(), now.settings())

    def _restore(self, before: Mapping[str, Snapshot]) -> str:
        """Restore each Region, even when the other fails; returns the outcome in words."""
        outcomes = []
        for role in reversed(list(before)):
            try:
                self._roll_back(role, before[role])
            except (StepFailed, NotReady, aws.AwsError) as error:
                outcomes.append(f"{role} could not be put back: {error}")
            else:
                outcomes.append(f"{role} is as it was before.")
        return " ".join(outcomes)

    def _roll_back(self, role: str, before: Snapshot) -> None:
        now = Function(self.topology, role)
        if before.state != function.COMPLETE:
            self.say(
                f"{now.region}: removing what this deployment made of {now.name} ..."
            )
            if before.state == function.API_ONLY:
                now.remove_without_api()
            elif now.contents():
                self._zappa("undeploy", role, "--yes")
            return
        # Zappa's rollback restores the code alone, and publishes it with these settings.
        now.restore(before.settings)
        if steps := now.latest_version() - before.version:
            self.say(
                f"{now.region}: putting back version {before.version} of {now.name} ..."
            )
            self._zappa("rollback", role, "-n", str(steps))
        self._smoke(role, before.access, attempts=RECHECK_ATTEMPTS)

    def _smoke(self, role: str, access: str, attempts: int = SMOKE_ATTEMPTS) -> None:
        """Wait until /health responds 200 (started, connected, schema current) and /users
        lets everyone in, or demands a token, as chosen."""
        url = self._url(role)
        expected = {"/health": "200", LISTED: "200" if access == NONE else "401"}
        for path, status in expected.items():
            self._await(role, f"{url}{path}", status, attempts)

    def _await(self, role: str, url: str, status: str, attempts: int) -> None:
        region, response = self.topology.regions[role], ""
        for attempt in range(attempts):
            if attempt:
                self.sleep(SMOKE_PAUSE)
            response = _get(url)
            if response == status:
                self.say(f"{region}: {url} is {status}")
                return
        raise StepFailed(f"{region}: {url} responds {response}, not {status}.")

    def _urls(self) -> dict[str, str]:
        return {role: self._url(role) for role in self.topology.regions}

    def _url(self, role: str) -> str:
        gateway = Gateway.find(self.topology, role)
        if gateway is None:
            raise StepFailed(f"{self.topology.regions[role]}: no API exists.")
        return gateway.url(self.options.public_stage)

    def _say_what_remains(self) -> None:
        for region in self.topology.regions.values():
            client = aws.client("resourcegroupstaggingapi", region)
            tags = self.topology.common_tags.items()
            filters = [{"Key": key, "Values": [value]} for key, value in tags]
            with aws.explained():
                pages = client.get_paginator("get_resources").paginate(
                    TagFilters=filters
                )
                for found in (e for p in pages for e in p["ResourceTagMappingList"]):
                    self.say(f"{region}: {found['ResourceARN']} still has the tags")
        self.say(
            "AWS itself keeps: CloudWatch metrics for 15 months, X-Ray traces for 30 days, "
            "the deleted secret for its recovery window, and the account's log group "
            "/aws/apigateway/welcome. Only the last can be deleted by hand; none costs anything."
        )

    def _manage(self, *arguments: str) -> None:
        self._run([sys.executable, str(MANAGE), *arguments], "manage.py", arguments)

    def _zappa(self, *arguments: str) -> None:
        zappa = Path(sys.executable).with_name("zappa")
        self._run([str(zappa), *arguments], "zappa", arguments)

    def _run(self, command: Sequence[str], name: str, arguments: Sequence[str]) -> None:
        line = " ".join([name, *arguments])
        self.say(f"==> {line}")
        limit = ZAPPA_SECONDS if name == "zappa" else None
        try:
            code = subprocess.run(
                command, cwd=PROJECT, check=False, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"`{line}` did not end in {limit} s.") from error
        if code:
            raise StepFailed(f"`{line}` ended with {code}; its output is above.")


def _get(url: str) -> str:
    """The status of a GET as text, or the reason why there is none."""
    try:
        with urllib.request.urlopen(url, timeout=SMOKE_SECONDS) as response:  # noqa: S310 - https, made by Gateway.url
            return str(response.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(error)
