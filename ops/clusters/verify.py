"""Runs the named checks of the control plane, both endpoints and the API."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError

from ops.aws import AwsError
from ops.clusters import (
    checks_across,
    checks_api,
    checks_control,
    checks_data,
    inventory,
)
from ops.clusters.database import connected, runtime_arn
from ops.clusters.inventory import Inventory
from ops.clusters.outcomes import CheckFailed, CheckSkipped, CheckWarning
from ops.target import manage
from ops.topology import Topology

PASS, WARN, FAIL, SKIP = "pass", "warn", "fail", "skip"
CONTROL = ("status", "witness", "peering", "protection", "encryption", "tags")
DATA = ("login", "migrations", "indexes", "jobs", "rights", "mapping")
ACROSS = ("replication", "conflict", "failover")
API = ("health", "api-replication")
NAMES = (*CONTROL, *DATA, *ACROSS, *API)
Latencies = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check: its outcome, why, and what to do about it."""

    name: str
    target: str
    outcome: str
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Report:
    checks: list[Check] = field(default_factory=list)
    latencies: Latencies = field(default_factory=dict)  # milliseconds by kind of work

    @property
    def ok(self) -> bool:
        return all(check.outcome != FAIL for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "checks": [asdict(check) for check in self.checks],
            "latency_ms": {
                kind: checks_across.percentiles(values)
                for kind, values in self.latencies.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of the operator; the URLs of the APIs are by role."""

    rounds: int = 20
    only: frozenset[str] = frozenset(NAMES)
    role_arns: tuple[str, ...] = ()
    api_urls: dict[str, str] = field(default_factory=dict)
    api_token: str = ""


class Verifier:
    """Runs the checks one after another and reports each as it ends."""

    def __init__(
        self,
        topology: Topology,
        options: Options,
        report_check: Callable[[Check], None],
    ) -> None:
        self.topology, self.options = topology, options
        self.report_check = report_check
        self.report = Report()

    def run(self) -> Report:
        """Run the chosen checks; what they create is removed, also after Ctrl-C.

        Raises aws.AwsError when the account cannot be read: nothing could be checked.
        """
        found = inventory.take(self.topology)
        self._control(found)
        with ExitStack() as stack:
            aliases = {
                role: stack.enter_context(connected(cluster.endpoint))
                for role, cluster in found.members().items()
                if cluster.endpoint
            }
            self._data(found, aliases)
            self._across(aliases)
        self._api()
        return self.report

    def _control(self, found: Inventory) -> None:
        for role, region in self.topology.regions.items():
            for name in CONTROL:
                work = getattr(checks_control, name)
                self._run(name, region, work, found, role)

    def _data(self, found: Inventory, aliases: dict[str, str]) -> None:
        members = found.members()
        for role, region in self.topology.regions.items():
            alias = aliases.get(role)
            for name in DATA:
                missing = "No cluster exists." if alias is None else ""
                unreachable = "" if name == "login" else self._failed(region, "login")
                if reason := missing or unreachable:
                    self._skip(name, region, reason)
                    continue
                arns = self.options.role_arns or (
                    runtime_arn(self.topology, role, members[role]),
                )
                self._run(name, region, getattr(checks_data, name), alias, arns)

    def _across(self, aliases: dict[str, str]) -> None:
        reason = ""
        if self.topology.single_region:
            reason = "Only one Region is used."
        elif len(aliases) < 2:
            reason = f"Both clusters are needed: {manage('dsql_provision')}"
        for region in self.topology.regions.values():
            reason = reason or self._failed(region, "login", "migrations")
        if reason:
            for name in ACROSS:
                self._skip(name, "both", reason)
            return
        pair = tuple(aliases.values())
        self._run(
            "replication", "both", checks_across.replication,
            pair, self.options.rounds, self.report.latencies,
        )  # fmt: skip
        self._run("conflict", "both", checks_across.conflict, pair)
        self._run("failover", "both", checks_across.failover, pair)

    def _api(self) -> None:
        urls, token = self.options.api_urls, self.options.api_token
        for role, region in self.topology.regions.items():
            url = urls.get(role)
            if url is None:
                self._skip("health", region, "No --api-url was given for it.")
            else:
                self._run("health", region, checks_api.health, url, token)
        if len(urls) < len(self.topology.regions) or len(urls) < 2:
            self._skip(
                "api-replication", "both", "It needs the --api-url of both Regions."
            )
        else:
            pair = tuple(urls.values())
            self._run(
                "api-replication", "both", checks_api.replication,
                pair, token, self.report.latencies,
            )  # fmt: skip

    def _failed(self, target: str, *names: str) -> str:
        """Why a check that needs these is skipped; empty when they passed."""
        for check in self.report.checks:
            if check.outcome == FAIL and check.target == target and check.name in names:
                return f"{check.name} failed above."
        return ""

    def _run(
        self, name: str, target: str, work: Callable[..., str], *args: Any
    ) -> None:
        if name not in self.options.only:
            return
        started = time.perf_counter()
        outcome, reason, hint = PASS, "", ""
        try:
            reason = work(*args)
        except CheckSkipped as skipped:
            outcome, reason = SKIP, str(skipped)
        except CheckWarning as warning:
            outcome, reason, hint = WARN, warning.reason, warning.hint
        except CheckFailed as failed:
            outcome, reason, hint = FAIL, failed.reason, failed.hint
        except (AwsError, DatabaseError, InterfaceError, ImproperlyConfigured) as error:
            outcome, reason = FAIL, " ".join(str(error).split())
        seconds = round(time.perf_counter() - started, 4)
        self._add(Check(name, target, outcome, reason, hint, seconds))

    def _skip(self, name: str, target: str, reason: str) -> None:
        if name in self.options.only:
            self._add(Check(name, target, SKIP, reason))

    def _add(self, check: Check) -> None:
        self.report.checks.append(check)
        self.report_check(check)


def counts(report: Report) -> Iterator[str]:
    """``3 pass``, ``1 fail`` …, in that order."""
    for outcome in (PASS, WARN, FAIL, SKIP):
        number = sum(check.outcome == outcome for check in report.checks)
        if number:
            yield f"{number} {outcome}"
