"""Applies a plan: every step can be repeated, and every wait says what it waits for."""

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from ops import aws
from ops.clusters import inventory
from ops.clusters.inventory import LEAVING, READY, Cluster
from ops.clusters.plan import Plan, Step, describe_failure
from ops.target import manage
from ops.topology import Topology

Say = Callable[[str], None]
UPDATABLE = READY | {"PENDING_SETUP"}
MAX_GENERATIONS = 100
# How long a cluster that was just made may still be unknown to GetCluster.
SETTLE_SECONDS = 3.0
FIRST_POLL, LAST_POLL = 0.5, 5.0  # seconds between two looks at a cluster
REPORT_SECONDS = 30.0


class ApplyError(Exception):
    """A step or a wait that failed; says where, what, and what to run next."""


@dataclass(slots=True)
class Applier:
    """Applies the plans of one topology. ``done`` lists the steps completed so far."""

    topology: Topology
    say: Say
    timeout: float = 900.0  # seconds for one wait
    known: dict[str, Cluster] = field(default_factory=dict)  # by role
    done: list[Step] = field(default_factory=list)

    def provision(self, plan: Plan, found: Mapping[str, Cluster]) -> dict[str, Cluster]:
        """Do every step and wait until all members are ready.

        Raises ApplyError or aws.AwsError; completed steps stay and are found
        by the next run.
        """
        self.known = dict(found)
        for step in plan.steps:
            self.say(str(step))
            getattr(self, f"_{step.action}")(step)
            self.done.append(step)
        for role in self.topology.regions:
            self.known[role] = self.wait(
                self.known[role], READY, manage("dsql_provision")
            )
        return self.known

    # Steps

    def _create(self, step: Step) -> None:
        params: dict[str, Any] = {
            "deletionProtectionEnabled": step.protect,
            "tags": dict(step.tags),
        }
        if self.topology.witness is not None:
            params["multiRegionProperties"] = self._properties(step)
        if step.kms_key:
            params["kmsEncryptionKey"] = step.kms_key
        if step.statistics:
            params["metricGroups"] = [{"metricGroup": "STATEMENT_STATISTICS"}]
        cluster = self._create_once(step, params)
        self.say(f"        {cluster}")
        if cluster.status == "FAILED":
            raise _failed(cluster)
        self.known[step.role] = cluster

    def _create_once(self, step: Step, params: dict[str, Any]) -> Cluster:
        """Create it with a client token that every operator derives alike.

        Two operators who create at once get one cluster. A token whose cluster was
        destroyed since returns that cluster, or a conflict if its settings differed;
        then the next token is used.
        """
        client = aws.client("dsql", step.region)
        peers = params.get("multiRegionProperties", {}).get("clusters", [])
        for generation in range(MAX_GENERATIONS):
            token = client_token(self.topology, step.role, peers, generation)
            with aws.explained():
                try:
                    response: Any = client.create_cluster(clientToken=token, **params)
                except ClientError as error:
                    if aws.error_code(error) != "ConflictException":
                        raise
                    found = self._retry_briefly(lambda: self._find_member(step.role))
                else:
                    found = self._find_created(step.region, response)
            if found is not None and found.status not in LEAVING:
                return found
        raise ApplyError(
            f"{step.region}: {MAX_GENERATIONS} clusters were made and destroyed here within a day; "
            f"try again tomorrow."
        )

    def _find_created(self, region: str, response: Mapping[str, Any]) -> Cluster | None:
        """The cluster of a CreateCluster response; None when an old one is gone."""
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        age = parsedate_to_datetime(headers["date"]) - response["creationTime"]
        if age.total_seconds() > SETTLE_SECONDS:
            return inventory.get(region, response["identifier"])
        return self._retry_briefly(
            lambda: inventory.get(region, response["identifier"])
        )

    def _find_member(self, role: str) -> Cluster | None:
        return inventory.take(self.topology).members().get(role)

    def _retry_briefly(self, look: Callable[[], Cluster | None]) -> Cluster | None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while (found := look()) is None and time.monotonic() < deadline:
            time.sleep(FIRST_POLL)
        return found

    def _update(self, step: Step) -> None:
        params: dict[str, Any] = {}
        if step.peer:
            params["multiRegionProperties"] = self._properties(step)
        if step.protect:
            params["deletionProtectionEnabled"] = True
        if step.kms_key:
            params["kmsEncryptionKey"] = step.kms_key
        if step.statistics is not None:
            groups = [{"metricGroup": "STATEMENT_STATISTICS"}]
            params["metricGroups"] = groups if step.statistics else []
        desired = params.get("multiRegionProperties", {}).get("clusters")
        cluster = self.known[step.role]

        def is_done(found: Cluster) -> bool:
            # Another operator may have peered it meanwhile; the rest is safe to repeat.
            return (
                set(params) == {"multiRegionProperties"}
                and list(found.peers) == desired
            )

        self.known[step.role] = self.update(cluster, params, is_done)

    def _tag(self, step: Step) -> None:
        cluster = self.known[step.role]
        with aws.explained():
            aws.client("dsql", step.region).tag_resource(
                resourceArn=cluster.arn, tags=dict(step.tags)
            )

    def _properties(self, step: Step) -> dict[str, Any]:
        properties: dict[str, Any] = {"witnessRegion": self.topology.witness}
        if step.peer:
            properties["clusters"] = [self.known[step.peer].arn]
        return properties

    def update(
        self,
        cluster: Cluster,
        params: Mapping[str, Any],
        is_done: Callable[[Cluster], bool],
    ) -> Cluster:
        """Update the cluster as soon as it accepts that, unless it is done by then."""
        client = aws.client("dsql", cluster.region)
        deadline = time.monotonic() + self.timeout
        while True:
            found = self.wait(
                cluster, UPDATABLE | {"CREATING"}, manage("dsql_provision")
            )
            if is_done(found):
                return found
            if found.status != "CREATING" and not _is_busy(
                client.update_cluster, identifier=cluster.identifier, **params
            ):
                return found
            self._pause(found, deadline, manage("dsql_provision"))

    def wait(
        self, cluster: Cluster, states: Collection[str], next_command: str
    ) -> Cluster:
        """Poll until the cluster has one of the states; says every change of state."""

        def is_over(found: Cluster | None) -> bool:
            if found is None:
                raise ApplyError(
                    f"{cluster.region}: cluster {cluster.identifier} was deleted meanwhile, not by "
                    f"this command. To make a new one: {next_command}"
                )
            if found.status == "FAILED":
                raise _failed(found)
            if found.status in LEAVING:
                raise ApplyError(
                    f"{found} is being deleted, not by this command. Let that end, then: {next_command}"
                )
            return found.status in states

        found = self._watch(cluster, is_over, next_command)
        assert found is not None  # noqa: S101 - is_over raises then
        return found

    def destroy(self, clusters: Collection[Cluster]) -> None:
        """Lift the protection, delete every cluster, wait until all are gone.

        Raises ApplyError or aws.AwsError; the next run goes on from there.
        """
        for cluster in clusters:
            if cluster.status not in LEAVING:
                self._delete(cluster)
        for cluster in clusters:
            self._watch(
                cluster,
                lambda found: found is None or found.status == "DELETED",
                manage("dsql_destroy"),
            )
            self.say(f"{cluster.region}: {cluster.identifier} is gone")

    def _delete(self, cluster: Cluster) -> None:
        client = aws.client("dsql", cluster.region)
        deadline = time.monotonic() + self.timeout
        while (found := inventory.get(cluster.region, cluster.identifier)) is not None:
            name = found.identifier
            if found.status in LEAVING:
                return
            if found.protected:
                self.say(f"{found}: lifting the deletion protection")
                _is_busy(
                    client.update_cluster,
                    identifier=name,
                    deletionProtectionEnabled=False,
                )
            elif not _is_busy(client.delete_cluster, identifier=name):
                self.say(f"{found}: deletion requested")
                return
            # Busy with another change, as after lifting the protection.
            self._pause(found, deadline, manage("dsql_destroy"))

    # Waiting

    def _pause(self, cluster: Cluster, deadline: float, next_command: str) -> None:
        if time.monotonic() >= deadline:
            raise self._too_long(cluster, next_command)
        time.sleep(FIRST_POLL)

    def _watch(
        self,
        cluster: Cluster,
        is_over: Callable[[Cluster | None], bool],
        next_command: str,
    ) -> Cluster | None:
        begun = reported_at = time.monotonic()
        reported, interval = "", FIRST_POLL
        while not is_over(found := inventory.get(cluster.region, cluster.identifier)):
            assert found is not None  # noqa: S101 - absence ends every wait
            now = time.monotonic()
            if found.status != reported or now - reported_at >= REPORT_SECONDS:
                self.say(f"{found}, {now - begun:.0f} s")
                reported, reported_at = found.status, now
            if now - begun >= self.timeout:
                raise self._too_long(found, next_command)
            time.sleep(interval)
            interval = min(2 * interval, LAST_POLL)
        if reported and found is not None:
            self.say(f"{found}")
        return found

    def _too_long(self, cluster: Cluster, next_command: str) -> ApplyError:
        peer = (
            " A member waits there until its peer is deleted too."
            if cluster.status == "PENDING_DELETE"
            else ""
        )
        return ApplyError(
            f"{cluster.region}: cluster {cluster.identifier} is still {cluster.status} after "
            f"{self.timeout:.0f} s.{peer} Run the command again, it resumes: {next_command}"
        )


def _is_busy(call: Callable[..., Any], **params: Any) -> bool:
    """Whether AWS refused the call because the cluster is busy. Raises aws.AwsError."""
    with aws.explained():
        try:
            call(**params)
        except ClientError as error:
            if aws.error_code(error) != "ConflictException":
                raise
            return True
    return False


def _failed(cluster: Cluster) -> ApplyError:
    return ApplyError(
        f"{cluster}: {describe_failure(cluster)} Remove it, then provision again: {manage('dsql_destroy')}"
    )


def client_token(
    topology: Topology, role: str, peers: Sequence[str], generation: int
) -> str:
    """The token of the n-th cluster of the role: the same for every operator."""
    kind = topology.witness or "single"
    parts = (
        topology.prefix,
        role,
        topology.regions[role],
        kind,
        *peers,
        str(generation),
    )
    return hashlib.sha256("/".join(parts).encode()).hexdigest()
