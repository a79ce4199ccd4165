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

from ops import aws
from ops.deploy import function
from ops.deploy.found import NotReady
from ops.deploy.gateway import Gateway
from ops.deploy.options import Options
from ops.paths import MANAGE, PROJECT
from ops.topology import Topology

SMOKE_ATTEMPTS, SMOKE_PAUSE = 15, 2.0  # a new stage answers after some seconds
RECHECK_ATTEMPTS = 3  # of what has served before
SMOKE_SECONDS = 35.0  # a cold start included
Say = Callable[[str], None]


class StepFailed(Exception):
    """A step did not succeed; says which and what was done about it."""


@dataclass(frozen=True, slots=True)
class Before:
    """A function as a deployment found it; version 0 when none was whole."""

    version: int
    settings: Mapping[str, Any]


class Life:
    """Deploys to and removes from both Regions of one topology."""

    def __init__(
        self, topology: Topology, options: Options, say: Say,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.topology, self.options = topology, options
        self.say, self.sleep = say, sleep

    def deploy(self) -> None:
        """Make or update everything. On a failure both functions are as they were.

        Raises StepFailed, and ImproperlyConfigured before anything is made.
        """
        self.options.require_access()
        self._manage("dsql_provision")
        for stage in self.topology.regions:
            self._manage("stack", "deploy", "--stage", stage)
        self._manage("dsql_database")
        self._deploy_functions()
        urls = [f"--api-url={role}={url}" for role, url in self._urls().items()]
        self._manage("dsql_verify", "--yes", *urls)

    def destroy(self) -> None:
        """Remove everything, the data included, and say what remains.

        Raises StepFailed.
        """
        stages = list(self.topology.regions)[::-1]
        for stage in stages:
            if self._state(stage) != function.ABSENT:
                self._zappa("undeploy", stage, "--yes")
        for stage in stages:
            self._manage("stack", "delete", "--stage", stage, "--yes")
        self._manage("dsql_destroy", "--yes", "--prefix", self.topology.prefix)
        self._say_what_remains()

    def _deploy_functions(self) -> None:
        before: dict[str, Before] = {}
        try:
            for stage in self.topology.regions:
                before[stage] = self._found(stage)
                self._zappa("deploy", stage)
                # The other Region is touched only when this one serves.
                self._smoke(stage)
        except (StepFailed, NotReady, aws.AwsError, KeyboardInterrupt) as failed:
            said = str(failed) or "Interrupted."
            raise StepFailed(f"{said} {self._put_back(before)}") from failed

    def _found(self, stage: str) -> Before:
        at = self.topology.function(stage)
        whole = function.state(*at) == function.COMPLETE
        return Before(function.version(*at) if whole else 0, function.settings(*at))

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
        if before.version == 0:
            if self._state(stage) != function.ABSENT:
                self.say(f"{region}: removing what this deployment made of {name} ...")
                self._zappa("undeploy", stage, "--yes")
            return
        # Zappa's rollback is of the code alone, and publishes it with these.
        function.restore(region, name, before.settings)
        if steps := function.version(region, name) - before.version:
            self.say(f"{region}: putting back version {before.version} of {name} ...")
            self._zappa("rollback", stage, "-n", str(steps))
        self._smoke(stage, attempts=RECHECK_ATTEMPTS)

    def _smoke(self, stage: str, attempts: int = SMOKE_ATTEMPTS) -> None:
        """Wait until /health answers 200: started, connected, schema current."""
        region, url = self.topology.regions[stage], f"{self._url(stage)}/health"
        answer = ""
        for attempt in range(attempts):
            if attempt:
                self.sleep(SMOKE_PAUSE)
            answer = _get(url)
            if answer == "200":
                self.say(f"{region}: {url} is 200")
                return
        raise StepFailed(f"{region}: {url} answers {answer}.")

    def _urls(self) -> dict[str, str]:
        return {stage: self._url(stage) for stage in self.topology.regions}

    def _url(self, stage: str) -> str:
        gateway = Gateway.of(*self.topology.function(stage))
        if gateway is None:
            raise StepFailed(f"{self.topology.regions[stage]}: there is no API.")
        return gateway.url(self.options.stage)

    def _state(self, stage: str) -> str:
        return function.state(*self.topology.function(stage))

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
        if code := subprocess.run(command, cwd=PROJECT, check=False).returncode:
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
