"""The ``dsql`` AWS API over the sandbox's clusters: one request in, one response out.

What botocore's model does not say is taken from the user guide ("Configuring
multi-Region clusters", "Cluster lifecycle", "Quotas") and the API reference.
"""

import base64
import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from ops.files import write_private
from ops.local.sandbox.api_model import ApiError, invalid
from ops.local.sandbox.client_tokens import ClientTokens, Response
from ops.local.sandbox.clusters import (
    ACCOUNT,
    DELETION,
    SERVING,
    Cluster,
    Fleet,
    Timing,
)
from ops.local.sandbox.control_params import (
    Params,
    access_denied,
    build_key_arn,
    conflict,
    list_required_actions,
    not_found,
    parse_metric_groups,
    parse_page,
    validate_tags,
)
from ops.local.sandbox.control_responses import describe, summarize
from ops.local.sandbox.control_rules import change_set, check_quota, check_set
from ops.local.sandbox.control_store import load, render
from ops.local.sandbox.faults import Faults
from ops.local.sandbox.signatures import Key

logger = logging.getLogger(__name__)

# A failed cluster takes an update too: its protection must go before it can.
UPDATABLE = SERVING - {"UPDATING"} | {"PENDING_SETUP", "FAILED"}
PAGE = 100
FAILED = "FAILED"


def find_api_fault(faults: Faults, action: str, region: str) -> ApiError | None:
    """The fault in force that strikes this action; ``FAILED`` stands for a creation."""
    kinds = ("api-failed",) if action == FAILED else ("api-denied", "api-throttled")
    struck = faults.strike(kinds, region, "" if action == FAILED else action)
    if struck is None:
        return None
    refused = struck.kind == "api-denied"
    code = "AccessDeniedException" if refused else "ThrottlingException"
    return ApiError(code, "Rate exceeded", {"retryAfterSeconds": 1})


class Control:
    """The clusters of the account in every Region; every call is one transaction.

    ``clear`` deletes the data of the one cluster set that has any; it may raise and is
    called again.
    """

    def __init__(
        self,
        path: Path,
        timing: Timing,
        *,
        clock: Callable[[], float],
        clear: Callable[[], None],
        fault: Callable[[str, str], ApiError | None] = lambda _action, _region: None,
    ) -> None:
        self._path, self._clock, self._clear, self._fault = path, clock, clear, fault
        self._lock = threading.RLock()
        kept = load(path)
        self.fleet = Fleet(timing, kept["clusters"])
        self._tokens = ClientTokens(kept["tokens"], clock)
        # The embedded database is that of one set of peers: these clusters'.
        self._holders: list[str] = kept["holders"]
        self._refusals: dict[str, str] = {}
        self.refresh()

    # For the data plane: safe in an event loop, nothing here waits.

    def hosts(self) -> list[str]:
        """The endpoints of all clusters, serving or not."""
        return list(self._refusals)

    def refusal(self, host: str) -> str:
        """Why that endpoint accepts no connections; empty when it does."""
        return self._refusals.get(host.lower(), f"There is no cluster {host}")

    def connected(self, host: str) -> None:
        """Note that the cluster is in use: it is ACTIVE again."""
        cluster = self.fleet.clusters.get(host.partition(".")[0].lower())
        if cluster is not None:
            cluster.used = self._clock()

    def refresh(self) -> None:
        """Bring everything up to the present; called often, it saves only changes."""
        with self._lock:
            now = self._clock()
            before = len(self.fleet.clusters), self._holders
            self._remove(self.fleet.gone(now))
            self._hold(now)
            if (len(self.fleet.clusters), self._holders) != before:
                self._save()
            self._refusals = {c.endpoint: self._refuse(c, now) for c in self.fleet}

    def call(self, operation: str, params: Params, region: str, key: Key) -> Response:
        """Carry the operation out. Raises ApiError as the service would."""
        with self._lock:
            self.refresh()
            response: Response = OPERATIONS[operation](self, params, region, key)
            if not operation.startswith(("Get", "List")):
                self.fleet.link(self._clock())
                self._save()
                self.refresh()
            return response

    # Operations

    def create_cluster(self, params: Params, region: str, key: Key) -> Response:
        properties = params.get("multiRegionProperties", {})
        arn = f"arn:aws:dsql:{region}:{ACCOUNT}:cluster/*"
        self._allow(key, region, arn, "CreateCluster", *list_required_actions(params))
        if earlier := self._tokens.find("CreateCluster", params, region):
            return earlier
        witness, peers = properties.get("witnessRegion"), properties.get("clusters", [])
        check_set(self.fleet, region, witness, peers, properties)
        check_quota(self.fleet, region, multi=witness is not None)
        cluster = Cluster(
            region=region,
            created=self._clock(),
            protected=params.get("deletionProtectionEnabled", True),
            tags=validate_tags(params.get("tags", {})),
            witness=witness,
            peers=list(peers),
            kms_key=build_key_arn(params.get("kmsEncryptionKey"), region),
            metric_groups=parse_metric_groups(params) or [],
        )
        if fault := self._fault(FAILED, region):
            logger.info("the new cluster fails: %s", fault)
            cluster.failed = True
        self.fleet.clusters[cluster.identifier] = cluster
        self.fleet.link(self._clock())
        response = describe(cluster, self._status(cluster))
        return self._tokens.remember("CreateCluster", params, region, response)

    def get_cluster(self, params: Params, region: str, key: Key) -> Response:
        cluster = self._find(params["identifier"], region)
        self._allow(key, region, cluster.arn, "GetCluster")
        return describe(cluster, self._status(cluster)) | {"tags": cluster.tags}

    def list_clusters(self, params: Params, region: str, key: Key) -> Response:
        arn = f"arn:aws:dsql:{region}:{ACCOUNT}:cluster/*"
        self._allow(key, region, arn, "ListClusters")
        clusters = [cluster for cluster in self.fleet if cluster.region == region]
        begin = parse_page(params.get("nextToken"))
        size = params.get("maxResults", PAGE)
        response: Response = {
            "clusters": [
                {"identifier": c.identifier, "arn": c.arn}
                for c in clusters[begin : begin + size]
            ]
        }
        if begin + size < len(clusters):
            text = f"page:{begin + size}"
            response["nextToken"] = base64.b64encode(text.encode()).decode()
        return response

    def update_cluster(self, params: Params, region: str, key: Key) -> Response:
        cluster = self._find(params["identifier"], region)
        properties = params.get("multiRegionProperties", {})
        removed = set(cluster.peers) - set(properties.get("clusters", cluster.peers))
        actions = ["UpdateCluster", *list_required_actions(params)]
        actions += ["RemovePeerCluster"] if removed else []
        self._allow(key, region, cluster.arn, *actions)
        if earlier := self._tokens.find("UpdateCluster", params, region):
            return earlier
        now = self._clock()
        status = self.fleet.status(cluster, now)
        if status not in UPDATABLE:
            raise conflict(cluster, f"is {status} and cannot be updated")
        if properties:
            change_set(self.fleet, cluster, properties)
        cluster.protected = params.get("deletionProtectionEnabled", cluster.protected)
        groups = parse_metric_groups(params)
        cluster.metric_groups = cluster.metric_groups if groups is None else groups
        if new_key := params.get("kmsEncryptionKey"):
            cluster.kms_key = build_key_arn(new_key, region)
        cluster.updated = now
        self.fleet.link(now)
        response = summarize(cluster, self._status(cluster))
        return self._tokens.remember("UpdateCluster", params, region, response)

    def delete_cluster(self, params: Params, region: str, key: Key) -> Response:
        if earlier := self._tokens.find("DeleteCluster", params, region):
            self._allow(key, region, earlier["arn"], "DeleteCluster")
            return earlier
        cluster = self._find(params["identifier"], region)
        peers = ["RemovePeerCluster"] if cluster.peers else []
        self._allow(key, region, cluster.arn, "DeleteCluster", *peers)
        if cluster.protected:
            raise invalid(
                f"The cluster {cluster.identifier} has deletion protection enabled. Disable it "
                f"before deleting the cluster.",
                "deletionProtectionEnabled",
            )
        now = self._clock()
        status = self.fleet.status(cluster, now)
        if status in DELETION | {"CREATING", "UPDATING"}:
            raise conflict(cluster, f"is {status} and cannot be deleted")
        cluster.deleted = now
        response = summarize(cluster, self._status(cluster))
        return self._tokens.remember("DeleteCluster", params, region, response)

    def tag_resource(self, params: Params, region: str, key: Key) -> Response:
        cluster = self._resource(params, region, key, "TagResource")
        cluster.tags = validate_tags({**cluster.tags, **params["tags"]})
        return {}

    def untag_resource(self, params: Params, region: str, key: Key) -> Response:
        cluster = self._resource(params, region, key, "UntagResource")
        for name in params["tagKeys"]:
            cluster.tags.pop(name, None)
        return {}

    def list_tags(self, params: Params, region: str, key: Key) -> Response:
        cluster = self._resource(params, region, key, "ListTagsForResource")
        return {"tags": cluster.tags}

    def vpc_service_name(self, params: Params, region: str, key: Key) -> Response:
        cluster = self._find(params["identifier"], region)
        self._allow(key, region, cluster.arn, "GetVpcEndpointServiceName")
        suffix = hashlib.sha256(region.encode()).hexdigest()[:6]
        return {
            "serviceName": f"com.amazonaws.{region}.dsql-{suffix}",
            "clusterVpcEndpoint": f"{cluster.identifier}.dsql-{suffix}.{region}.on.aws",
        }

    # Rules

    def _allow(self, key: Key, region: str, resource: str, *actions: str) -> None:
        for action in actions:
            if fault := self._fault(action, region):
                if fault.code == "AccessDeniedException":
                    raise access_denied(key, action, resource)
                raise fault
            if action not in key.actions:
                raise access_denied(key, action, resource)

    def _find(self, identifier: str, region: str) -> Cluster:
        cluster = self.fleet.clusters.get(identifier)
        if cluster is None or cluster.region != region:
            raise not_found(identifier)
        return cluster

    def _resource(self, params: Params, region: str, key: Key, action: str) -> Cluster:
        arn = params["resourceArn"]
        self._allow(key, region, arn, action)
        cluster = self.fleet.clusters.get(arn.rpartition("/")[2])
        if cluster is None or cluster.arn != arn or cluster.region != region:
            raise not_found(arn)
        return cluster

    def _status(self, cluster: Cluster) -> str:
        return self.fleet.status(cluster, self._clock())

    # Life cycle

    def _remove(self, gone: list[Cluster]) -> None:
        left = set(self._holders) - {cluster.identifier for cluster in gone}
        if self._holders and not left:
            try:
                self._clear()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next tick tries again
                logger.warning("the data of the deleted cluster remain: %s", error)
                return
        self._holders = [name for name in self._holders if name in left]
        for cluster in gone:
            del self.fleet.clusters[cluster.identifier]
        if gone:
            self.fleet.link(self._clock())

    def _hold(self, now: float) -> None:
        """Give the embedded database to the oldest ready set when no set has it."""
        ready = [c for c in self.fleet if self.fleet.status(c, now) in SERVING]
        held = [c for c in ready if c.identifier in self._holders]
        for first in held if self._holders else ready[:1]:
            members = [first, *self.fleet.partners(first)]
            new = [m.identifier for m in members if m.identifier not in self._holders]
            self._holders = [*self._holders, *new]

    def _refuse(self, cluster: Cluster, now: float) -> str:
        status = self.fleet.status(cluster, now)
        if status not in SERVING:
            return f"The cluster {cluster.identifier} is {status}"
        if cluster.identifier not in self._holders:
            return "The sandbox holds the data of one cluster set, which is another one"
        return ""

    def _save(self) -> None:
        text = render(list(self.fleet), self._holders, self._tokens.entries)
        write_private(self._path, text)


OPERATIONS: dict[str, Callable[[Control, Params, str, Key], Response]] = {
    "CreateCluster": Control.create_cluster,
    "GetCluster": Control.get_cluster,
    "ListClusters": Control.list_clusters,
    "UpdateCluster": Control.update_cluster,
    "DeleteCluster": Control.delete_cluster,
    "TagResource": Control.tag_resource,
    "UntagResource": Control.untag_resource,
    "ListTagsForResource": Control.list_tags,
    "GetVpcEndpointServiceName": Control.vpc_service_name,
}
ACTIONS = (
    *OPERATIONS, "AddPeerCluster", "PutMultiRegionProperties", "PutWitnessRegion",
    "RemovePeerCluster",
)  # fmt: skip
