"""Django's secret key: one secret, made by the primary's stack, replicated to the other.

It signs the cursors of lists, and nothing else. A deployment writes it to the variables of
the functions, so whoever may call ``lambda:GetFunction*`` can read it there, and earlier
keys in the versions that Lambda keeps.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any

from ops import aws
from ops.ownership import NotReady
from ops.topology import PRIMARY, Topology

KEY_BYTES = 48


class SecretMissing(Exception):
    """No secret key exists in that Region yet; says what creates it."""


@dataclass(frozen=True, slots=True)
class DjangoKey:
    """The key that signs, and earlier keys that are still accepted."""

    key: str
    fallbacks: tuple[str, ...] = ()

    def next(self) -> "DjangoKey":
        """A new key, which accepts what this one has signed, and nothing older."""
        return DjangoKey(secrets.token_urlsafe(KEY_BYTES), (self.key,))

    def variables(self) -> dict[str, str]:
        return {
            "DJANGO_SECRET_KEY": self.key,
            "DJANGO_SECRET_KEY_FALLBACKS": ",".join(self.fallbacks),
        }


def read(topology: Topology, role: str) -> DjangoKey:
    """The key in the Region of that role. Raises SecretMissing."""
    region = topology.regions[role]
    client = aws.client("secretsmanager", region)
    with aws.explained():
        arn = _find(client, topology)
        if arn is None:
            raise SecretMissing(
                f"{region}: there is no secret with Django's key. Run `manage.py stack deploy "
                f"--role {PRIMARY}`, which creates it in both Regions. If that stack is complete, the secret "
                f"was deleted: `aws secretsmanager list-secrets --region {region} "
                f"--include-planned-deletion` names it, `restore-secret` brings it back."
            )
        found = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    return DjangoKey(found["key"], tuple(found["fallbacks"]))


def write(topology: Topology, key: DjangoKey) -> None:
    """Store the key; Secrets Manager copies it to the other Region."""
    client = aws.client("secretsmanager", topology.regions[PRIMARY])
    content = {"key": key.key, "fallbacks": list(key.fallbacks)}
    with aws.explained():
        client.put_secret_value(
            SecretId=_find(client, topology), SecretString=json.dumps(content)
        )


def _find(client: Any, topology: Topology) -> str | None:
    """The secret with our tags, which a replica carries too.

    Raises NotReady when several secrets carry them.
    """
    filters = [{"Key": "tag-value", "Values": [topology.prefix]}]
    pages = client.get_paginator("list_secrets").paginate(Filters=filters)
    arns = [
        str(found["ARN"])
        for page in pages
        for found in page["SecretList"]
        if topology.common_tags.items()
        <= {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}.items()
    ]
    if len(arns) > 1:
        raise NotReady(
            f"{client.meta.region_name}: several secrets carry the tags of {topology.prefix}: "
            f"{', '.join(sorted(arns))}. Nothing was changed. Remove the tag Application from "
            f"all but the one in use."
        )
    return arns[0] if arns else None
