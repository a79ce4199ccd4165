"""The whole life of a deployment: each step is a command that an operator could type."""

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
from ops.deploy import checks, function, limits, sources, wanted
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
SMOKE_ATTEMPTS, SMOKE_PAUSE = 15, 2.0  # a new stage answers after some seconds
RECHECK_ATTEMPTS = 3  # of what has served before
# Longer than its own limit, within which it says more.
ZAPPA_SECONDS = limits.STEP_SECONDS + 60
SMOKE_SECONDS = 35.0  # a cold start included
Say = Callable[[str], None]


class StepFailed(Exception):
    """A step did not succeed; says which and what was done about it."""


@dataclass(frozen=True, slots=True)
class Before:
    """A function as a deployment found it; the version counts where it was whole."""

    state: str
    version: int
    settings: Mapping[str, Any]

    @property
    def access(self) -> str:
        """The API_AUTH that it had."""
        variables = self.settings.get("Environment", {}).get("Variables", {})
        return str(variables.get("API_AUTH", ""))


class Life:
    """Deploys to and removes from both Regions of one topology."""

    def __init__(
        self, topology: Topology, options: Options, say: Say,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.topology, self.options = topology, options
        self.say, self.sleep = say, sleep

    def deploy(self, confirm: Callable[[], None] = lambda: None) -> None:
        """Make or update everything. On a failure both functions are as they were.

        ``confirm`` is called once everything that can be checked is; what it raises ends
        the deployment. Raises StepFailed, and ImproperlyConfigured or NotReady before
        anything is made.
        """
        self.options.require_access()
        if self.options.bytecode:
            runtime = self.options.runtime or default_runtime()
            require_interpreter(Target(runtime, "x86_64"))
        for stage in self.topology.regions:
            variables = wanted.foreseen(self.topology, self.options, stage)
            checks.require_sound(self.topology.regions[stage], variables)
        self._require_token()
        self._require_ours()
        if remark := sources.read(PROJECT).remark:
            self.say(remark)
        self.say(f"Who may call: {self.options.who_may_call()}.")
        confirm()
        self._manage("dsql_provision")
        for stage in self.topology.regions:
            self._manage("stack", "deploy", "--stage", stage)
        self._manage("dsql_database")
        self._deploy_functions()
        self._verify()

    def destroy(self, confirm: Callable[[], None] = lambda: None) -> None:
        """Remove everything, the data included, and say what remains.

        Says first what was found; then ``confirm`` may raise. Raises StepFailed, and
        NotReady before anything is removed when something is not ours.
        """
        found = self._contents()
        if not found:
            self.say(f"There is nothing of {self.topology.prefix}: nothing to delete.")
            return
        for line in found:
            self.say(line)
        confirm()
        stages = list(self.topology.regions)[::-1]
        for stage in stages:
            if function.contents(self.topology, stage):
                self._zappa("undeploy", stage, "--yes")
        for stage in stages:
            self._manage("stack", "delete", "--stage", stage, "--yes")
        self._manage("dsql_destroy", "--yes", "--prefix", self.topology.prefix)
        self._say_what_remains()

    def _require_token(self) -> None:
        self.options.require_token()
        if refused := self._refused_token():
            raise ImproperlyConfigured(
                f"API_TOKEN would be refused: {refused} Nothing was changed."
            )

    def _refused_token(self) -> str:
        if self.options.access == NONE:
            return ""
        region = self.topology.regions[PRIMARY]
        variables = wanted.foreseen(self.topology, self.options, PRIMARY)
        return checks.refusal(region, variables, self.options.token)

    def _verify(self) -> None:
        """Both Regions are up: a token that has expired meanwhile is no failure of theirs."""
        urls = [f"--api-url={role}={url}" for role, url in self._urls().items()]
        if refused := self._refused_token():
            self.say(
                f"API_TOKEN is not accepted any more: {refused} One Region's user is not read in "
                f"the other; with a fresh token: {manage('dsql_verify')} {' '.join(urls)}"
            )
            urls.append("--api-token=")
        self._manage("dsql_verify", "--yes", *urls)

    def _require_ours(self) -> None:
        """Raise NotReady when anything has a name of ours and is not ours."""
        for stage in self.topology.regions:
            function.require_ours(self.topology, stage)
            Gateway.require_no_other(self.topology, stage)
            Gateway.require_own_stages(self.topology, stage)
            RuntimeStack(self.topology, stage).contents()
            LogRole(self.topology, stage).pending()
        Boundary(self.topology).contents()

    def _contents(self) -> list[str]:
        """All there is, a line each. Raises NotReady when something is not ours, or when
        several clusters may be."""
        clusters = inventory.take(self.topology)
        if several := clusters.several():
            raise NotReady(several)
        for stage in self.topology.regions:
            Gateway.require_own_stages(self.topology, stage)
        found = [
            line
            for stage in self.topology.regions
            for line in (
                *function.contents(self.topology, stage),
                *RuntimeStack(self.topology, stage).contents(),
            )
        ]
        return [
            *found,
            *Boundary(self.topology).contents(),
            *(f"{each.region}: cluster {each.described}" for each in clusters.owned),
        ]

    def _deploy_functions(self) -> None:
        before: dict[str, Before] = {}
        try:
            for stage in self.topology.regions:
                before[stage] = self._found(stage)
                self._zappa("deploy", stage)
                # The other Region is touched only when this one serves.
                self._smoke(stage, self.options.access)
        except (StepFailed, NotReady, aws.AwsError, KeyboardInterrupt) as failed:
            said = str(failed) or "Interrupted."
            raise StepFailed(f"{said} {self._put_back(before)}") from failed

    def _found(self, stage: str) -> Before:
        at = self.topology, stage
        return Before(
            function.state(*at), function.version(*at), function.settings(*at)
        )

    def _put_back(self, before: Mapping[str, Before]) -> str:
        """Each Region for itself, whatever becomes of the other; what to tell about it."""
        told = []
        for stage in reversed(list(before)):
            try:
                self._roll_back(stage, before[stage])
            except (StepFailed, NotReady, aws.AwsError) as error:
                told.append(f"{stage} could not be put back: {error}")
            else:
                told.append(f"{stage} is as it was before.")
        return " ".join(told)

    def _roll_back(self, stage: str, before: Before) -> None:
        region, name = self.topology.function(stage)
        if before.state != function.COMPLETE:
            self.say(f"{region}: removing what this deployment made of {name} ...")
            if before.state == function.API_ONLY:
                function.remove_function(self.topology, stage)
            elif function.contents(self.topology, stage):
                self._zappa("undeploy", stage, "--yes")
            return
        # Zappa's rollback is of the code alone, and publishes it with these.
        function.restore(self.topology, stage, before.settings)
        if steps := function.version(self.topology, stage) - before.version:
            self.say(f"{region}: putting back version {before.version} of {name} ...")
            self._zappa("rollback", stage, "-n", str(steps))
        self._smoke(stage, before.access, attempts=RECHECK_ATTEMPTS)

    def _smoke(self, stage: str, access: str, attempts: int = SMOKE_ATTEMPTS) -> None:
        """Wait until /health answers 200 (started, connected, schema current) and /users
        lets in, or asks for a token, as was chosen."""
        url = self._url(stage)
        expected = {"/health": "200", LISTED: "200" if access == NONE else "401"}
        for path, status in expected.items():
            self._await(stage, f"{url}{path}", status, attempts)

    def _await(self, stage: str, url: str, status: str, attempts: int) -> None:
        region, answer = self.topology.regions[stage], ""
        for attempt in range(attempts):
            if attempt:
                self.sleep(SMOKE_PAUSE)
            answer = _get(url)
            if answer == status:
                self.say(f"{region}: {url} is {status}")
                return
        raise StepFailed(f"{region}: {url} answers {answer}, not {status}.")

    def _urls(self) -> dict[str, str]:
        return {stage: self._url(stage) for stage in self.topology.regions}

    def _url(self, stage: str) -> str:
        gateway = Gateway.of(self.topology, stage)
        if gateway is None:
            raise StepFailed(f"{self.topology.regions[stage]}: there is no API.")
        return gateway.url(self.options.stage)

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
            "What AWS keeps for itself: CloudWatch metrics for 15 months, X-Ray traces for 30 days, "
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
    """The status of a GET as text, or why there was none."""
    try:
        with urllib.request.urlopen(url, timeout=SMOKE_SECONDS) as response:  # noqa: S310 - https, made by Gateway.url
            return str(response.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(error)
