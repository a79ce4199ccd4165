"""The ``dsql`` AWS API over the sandbox's clusters: one call in, one answer out.

What botocore's model does not say is taken from the user guide ("Configuring
multi-Region clusters", "Cluster lifecycle", "Quotas") and the API reference.
"""

import base64
import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ops.files import write_private
from ops.local.sandbox.clusters import (
    ACCOUNT,
    DELETION,
    SERVING,
    Cluster,
    Fleet,
    Timing,
)
from ops.local.sandbox.contract import ApiError, invalid
from ops.local.sandbox.control_params import (
    OWNED_KEY,
    Params,
    checked_tags,
    conflict,
    denied,
    fingerprint,
    kms_key,
    metric_groups,
    needed,
    not_found,
    page_of,
    token_name,
)
from ops.local.sandbox.control_store import load, render
from ops.local.sandbox.faults import Faults
from ops.local.sandbox.tokens import Key

logger = logging.getLogger(__name__)

# A failed cluster takes an update too: its protection must go before it can.
UPDATABLE = SERVING - {"UPDATING"} | {"PENDING_SETUP", "FAILED"}
TOKEN_SECONDS = 24 * 3600.0
PAGE = 100
# Clusters per account and Region: AWS user guide, "Quotas".
MAX_SINGLE_REGION, MAX_MULTI_REGION = 20, 5
FAILED = "FAILED"
Answer = dict[str, Any]


def api_fault(faults: Faults, action: str, region: str) -> ApiError | None:
    """The fault in force that strikes this action; ``FAILED`` asks for that of a creation."""
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
        self._tokens: dict[str, dict[str, Any]] = kept["tokens"]
        # The embedded database is that of one set of peers: these clusters'.
        self._holders: list[str] = kept["holders"]
        self._refusals: dict[str, str] = {}
        self.settle()

    # What the data plane asks; safe in an event loop, nothing here waits.

    def hosts(self) -> list[str]:
        """The endpoints of all clusters, serving or not."""
        return list(self._refusals)

    def refusal(self, host: str) -> str:
        """Why that endpoint takes no connections; empty when it does."""
        return self._refusals.get(host.lower(), f"There is no cluster {host}")

    def connected(self, host: str) -> None:
        """Note that the cluster is in use: it is ACTIVE again."""
        cluster = self.fleet.clusters.get(host.partition(".")[0].lower())
        if cluster is not None:
            cluster.used = self._clock()

    def settle(self) -> None:
        """Bring everything up to the present; called often, saves only changes."""
        with self._lock:
            now = self._clock()
            before = len(self.fleet.clusters), self._holders
            self._remove(self.fleet.gone(now))
            self._hold(now)
            if (len(self.fleet.clusters), self._holders) != before:
                self._save()
            self._refusals = {c.endpoint: self._refuse(c, now) for c in self.fleet}

    def call(self, operation: str, params: Params, region: str, key: Key) -> Answer:
        """Carry the operation out. Raises ApiError as the service would."""
        with self._lock:
            self.settle()
            answer: Answer = OPERATIONS[operation](self, params, region, key)
            if not operation.startswith(("Get", "List")):
                self.fleet.link(self._clock())
                self._save()
                self.settle()
            return answer

    # Operations

    def create_cluster(self, params: Params, region: str, key: Key) -> Answer:
        wanted = params.get("multiRegionProperties", {})
        arn = f"arn:aws:dsql:{region}:{ACCOUNT}:cluster/*"
        self._allow(key, region, arn, "CreateCluster", *needed(params))
        if kept := self._repeated("CreateCluster", params, region):
            return kept
        witness, peers = wanted.get("witnessRegion"), wanted.get("clusters", [])
        self._check_set(region, witness, peers, wanted)
        self._check_quota(region, multi=witness is not None)
        cluster = Cluster(
            region=region,
            created=self._clock(),
            protected=params.get("deletionProtectionEnabled", True),
            tags=checked_tags(params.get("tags", {})),
            witness=witness,
            peers=list(peers),
            kms_key=kms_key(params.get("kmsEncryptionKey"), region),
            metric_groups=metric_groups(params) or [],
        )
        if fault := self._fault(FAILED, region):
            logger.info("the new cluster fails: %s", fault)
            cluster.failed = True
        self.fleet.clusters[cluster.identifier] = cluster
        self.fleet.link(self._clock())
        return self._remember(
            "CreateCluster", params, region, self._describe(cluster, tags=False)
        )

    def get_cluster(self, params: Params, region: str, key: Key) -> Answer:
        cluster = self._find(params["identifier"], region)
        self._allow(key, region, cluster.arn, "GetCluster")
        return self._describe(cluster)

    def list_clusters(self, params: Params, region: str, key: Key) -> Answer:
        arn = f"arn:aws:dsql:{region}:{ACCOUNT}:cluster/*"
        self._allow(key, region, arn, "ListClusters")
        found = [cluster for cluster in self.fleet if cluster.region == region]
        begin = page_of(params.get("nextToken"))
        size = params.get("maxResults", PAGE)
        answer: Answer = {
            "clusters": [
                {"identifier": c.identifier, "arn": c.arn}
                for c in found[begin : begin + size]
            ]
        }
        if begin + size < len(found):
            text = f"page:{begin + size}"
            answer["nextToken"] = base64.b64encode(text.encode()).decode()
        return answer

    def update_cluster(self, params: Params, region: str, key: Key) -> Answer:
        cluster = self._find(params["identifier"], region)
        wanted = params.get("multiRegionProperties", {})
        removed = set(cluster.peers) - set(wanted.get("clusters", cluster.peers))
        actions = ["UpdateCluster", *needed(params)]
        actions += ["RemovePeerCluster"] if removed else []
        self._allow(key, region, cluster.arn, *actions)
        if kept := self._repeated("UpdateCluster", params, region):
            return kept
        now = self._clock()
        status = self.fleet.status(cluster, now)
        if status not in UPDATABLE:
            raise conflict(cluster, f"is {status} and cannot be updated")
        if wanted:
            self._change_set(cluster, wanted)
        cluster.protected = params.get("deletionProtectionEnabled", cluster.protected)
        groups = metric_groups(params)
        cluster.metric_groups = cluster.metric_groups if groups is None else groups
        if wanted_key := params.get("kmsEncryptionKey"):
            cluster.kms_key = kms_key(wanted_key, region)
        cluster.updated = now
        self.fleet.link(now)
        return self._remember("UpdateCluster", params, region, self._summary(cluster))

    def delete_cluster(self, params: Params, region: str, key: Key) -> Answer:
        if kept := self._repeated("DeleteCluster", params, region):
            self._allow(key, region, kept["arn"], "DeleteCluster")
            return kept
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
        return self._remember("DeleteCluster", params, region, self._summary(cluster))

    def tag_resource(self, params: Params, region: str, key: Key) -> Answer:
        cluster = self._resource(params, region, key, "TagResource")
        cluster.tags = checked_tags({**cluster.tags, **params["tags"]})
        return {}

    def untag_resource(self, params: Params, region: str, key: Key) -> Answer:
        cluster = self._resource(params, region, key, "UntagResource")
        for name in params["tagKeys"]:
            cluster.tags.pop(name, None)
        return {}

    def list_tags(self, params: Params, region: str, key: Key) -> Answer:
        cluster = self._resource(params, region, key, "ListTagsForResource")
        return {"tags": cluster.tags}

    def vpc_service_name(self, params: Params, region: str, key: Key) -> Answer:
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
                    raise denied(key, action, resource)
                raise fault
            if action not in key.actions:
                raise denied(key, action, resource)

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

    def _check_set(
        self, region: str, witness: str | None, peers: list[str], wanted: Params
    ) -> None:
        """What a multi-Region cluster must be to be accepted at all."""
        if wanted and not witness:
            raise invalid("multiRegionProperties needs a witnessRegion")
        peer_regions = [arn.split(":")[3] for arn in peers]
        if witness in (region, *peer_regions):
            raise invalid(
                f"The witness Region {witness} must differ from the clusters' Regions"
            )
        if region in peer_regions or len(peers) > 1:
            raise invalid("A cluster has one peer, which is in another Region")
        for arn in peers:
            peer = self.fleet.clusters.get(arn.rpartition("/")[2])
            if arn.split(":")[4] == ACCOUNT and (peer is None or peer.arn != arn):
                raise invalid(f"The peer cluster {arn} does not exist")
            if peer is not None and peer.witness != witness:
                raise invalid(
                    f"The peer cluster {arn} has the witness Region {peer.witness}, not {witness}"
                )

    def _change_set(self, cluster: Cluster, wanted: Params) -> None:
        witness = wanted.get("witnessRegion", cluster.witness)
        if cluster.witness is None:
            raise invalid(
                "A single-Region cluster cannot become a multi-Region cluster"
            )
        if witness != cluster.witness and cluster.peers:
            raise invalid("The witness Region of a peered cluster cannot be changed")
        peers = [
            arn for arn in wanted.get("clusters", cluster.peers) if arn != cluster.arn
        ]
        self._check_set(cluster.region, witness, peers, wanted | {"peers": peers})
        cluster.witness, cluster.peers = witness, peers

    def _check_quota(self, region: str, *, multi: bool) -> None:
        like = [
            c for c in self.fleet if c.region == region and multi == bool(c.witness)
        ]
        if len(like) >= (MAX_MULTI_REGION if multi else MAX_SINGLE_REGION):
            raise ApiError(
                "ServiceQuotaExceededException",
                "You have reached the cluster limit.",
                {
                    "resourceId": region,
                    "resourceType": "cluster",
                    "serviceCode": "dsql",
                    "quotaCode": "L-MULTI-REGION" if multi else "L-SINGLE-REGION",
                },
            )

    # Client tokens: the same token and request give the first answer again.

    def _repeated(self, operation: str, params: Params, region: str) -> Answer | None:
        kept = self._tokens.get(token_name(operation, params, region))
        if kept is None or "clientToken" not in params or self._is_old(kept):
            return None
        if kept["request"] != fingerprint(params):
            raise ApiError(
                "ConflictException",
                "The client token was used for a request with other parameters.",
            )
        answer: Answer = kept["answer"]
        return answer

    def _remember(
        self, operation: str, params: Params, region: str, answer: Answer
    ) -> Answer:
        self._tokens = {
            name: kept for name, kept in self._tokens.items() if not self._is_old(kept)
        } | {
            token_name(operation, params, region): {
                "request": fingerprint(params), "answer": answer, "at": self._clock(),
            }
        }  # fmt: skip
        return answer

    def _is_old(self, kept: Params) -> bool:
        return bool(self._clock() - kept["at"] >= TOKEN_SECONDS)

    # Answers

    def _summary(self, cluster: Cluster) -> Answer:
        return {
            "identifier": cluster.identifier,
            "arn": cluster.arn,
            "status": self.fleet.status(cluster, self._clock()),
            "creationTime": cluster.created,
        }

    def _describe(self, cluster: Cluster, *, tags: bool = True) -> Answer:
        answer = self._summary(cluster) | {
            "deletionProtectionEnabled": cluster.protected,
            "endpoint": cluster.endpoint,
            "metricGroups": [{"metricGroup": name} for name in cluster.metric_groups],
            "encryptionDetails": self._encryption(cluster),
        }
        if cluster.witness is not None:
            answer["multiRegionProperties"] = {
                "witnessRegion": cluster.witness,
                "clusters": [cluster.arn, *cluster.peers],
            }
        return answer | {"tags": cluster.tags} if tags else answer

    def _encryption(self, cluster: Cluster) -> Answer:
        if cluster.kms_key is None:
            return {"encryptionType": OWNED_KEY, "encryptionStatus": "ENABLED"}
        return {
            "encryptionType": "CUSTOMER_MANAGED_KMS_KEY",
            "kmsKeyArn": cluster.kms_key,
            "encryptionStatus": "ENABLED",
        }

    # Life

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
        """Give the embedded database to the oldest ready set when nobody has it."""
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
        text = render(list(self.fleet), self._holders, self._tokens)
        write_private(self._path, text)


OPERATIONS: dict[str, Callable[[Control, Params, str, Key], Answer]] = {
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
