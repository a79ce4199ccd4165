"""Parameters of the ``dsql`` AWS API: parsed and validated, and the texts of its errors."""

import base64
import binascii
from typing import Any

from ops.local.sandbox.api_model import ApiError, invalid
from ops.local.sandbox.clusters import ACCOUNT, Cluster
from ops.local.sandbox.signatures import Key

OWNED_KEY = "AWS_OWNED_KMS_KEY"
MAX_TAGS = 200
Params = dict[str, Any]


def list_required_actions(params: Params) -> list[str]:
    """The further actions that a create or an update must be allowed."""
    properties = params.get("multiRegionProperties")
    actions = {
        "TagResource": params.get("tags"),
        "PutMultiRegionProperties": properties,
        "PutWitnessRegion": (properties or {}).get("witnessRegion"),
        "AddPeerCluster": (properties or {}).get("clusters"),
    }
    return [action for action, value in actions.items() if value]


def parse_metric_groups(params: Params) -> list[str] | None:
    groups = params.get("metricGroups")
    return None if groups is None else [entry["metricGroup"] for entry in groups]


def build_key_arn(name: str | None, region: str) -> str | None:
    """The key's ARN; None for the key that AWS owns."""
    if name in (None, OWNED_KEY):
        return None
    if name.startswith("arn:"):
        return name
    kind = name if name.startswith("alias/") else f"key/{name}"
    return f"arn:aws:kms:{region}:{ACCOUNT}:{kind}"


def validate_tags(tags: dict[str, str]) -> dict[str, str]:
    if reserved := [name for name in tags if name.lower().startswith("aws:")]:
        raise invalid(f"Tag keys must not begin with aws: {', '.join(reserved)}")
    if len(tags) > MAX_TAGS:
        raise ApiError(
            "ServiceQuotaExceededException",
            f"A cluster has at most {MAX_TAGS} tags.",
            {
                "resourceId": "",
                "resourceType": "tag",
                "serviceCode": "dsql",
                "quotaCode": "",
            },
        )
    return tags


def parse_page(token: str | None) -> int:
    if token is None:
        return 0
    try:
        word, _, number = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        word, number = "", ""
    if word != "page" or not number.isdigit():
        raise invalid("The nextToken is not valid")
    return int(number)


def access_denied(key: Key, action: str, resource: str) -> ApiError:
    return ApiError(
        "AccessDeniedException",
        f"User: {key.arn} is not authorized to perform: dsql:{action} on resource: {resource} "
        f"because no identity-based policy allows the dsql:{action} action",
    )


def conflict(cluster: Cluster, text: str) -> ApiError:
    return ApiError(
        "ConflictException",
        f"The cluster {cluster.identifier} {text}",
        {"resourceId": cluster.identifier, "resourceType": "cluster"},
    )


def not_found(name: str) -> ApiError:
    return ApiError(
        "ResourceNotFoundException",
        f"The cluster {name} does not exist",
        {"resourceId": name, "resourceType": "cluster"},
    )
