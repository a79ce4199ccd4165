"""Django's secret key: one secret, made by the primary's stack, replicated to the other."""

import json
import secrets
from dataclasses import dataclass
from typing import Any

from ops import aws
from ops.topology import PRIMARY, Topology

KEY_BYTES = 48


class SecretMissing(Exception):
    """No secret key in that Region yet; says what makes it."""


@dataclass(frozen=True, slots=True)
class DjangoKey:
    """The key that signs, and others that are still, or already, accepted."""

    key: str
    fallbacks: tuple[str, ...] = ()
    retiring: bool = False  # the fallbacks are old keys, not a coming one

    def next(self) -> "DjangoKey":
        """One step of a rotation; each step must be deployed to both Regions.

        A new key is first accepted everywhere, then signs, then the old one is dropped:
        at no moment does a Region refuse what the other signed.
        """
        if not self.fallbacks:
            return DjangoKey(self.key, (secrets.token_urlsafe(KEY_BYTES),))
        if not self.retiring:
            coming = self.fallbacks[0]
            return DjangoKey(coming, (self.key,), retiring=True)
        return DjangoKey(self.key)

    @property
    def step(self) -> str:
        if not self.fallbacks:
            return "One key signs and is accepted."
        if self.retiring:
            return "The new key signs; the old one is still accepted."
        return "A new key is accepted; the old one still signs."

    def variables(self) -> dict[str, str]:
        return {
            "DJANGO_SECRET_KEY": self.key,
            "DJANGO_SECRET_KEY_FALLBACKS": ",".join(self.fallbacks),
        }


def read(topology: Topology, stage: str) -> DjangoKey:
    """The key as that Region has it. Raises SecretMissing."""
    region = topology.regions[stage]
    client = aws.client("secretsmanager", region)
    with aws.explained():
        arn = _find(client, topology)
        if arn is None:
            raise SecretMissing(
                f"{region}: there is no secret with Django's key. Run `manage.py stack deploy "
                f"--stage {PRIMARY}`, which makes it in both Regions."
            )
        found = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    return DjangoKey(
        found["key"], tuple(found["fallbacks"]), bool(found.get("retiring"))
    )


def rotate(topology: Topology, key: DjangoKey) -> DjangoKey:
    """Take one step from ``key``; Secrets Manager copies it to the other Region."""
    following = key.next()
    client = aws.client("secretsmanager", topology.regions[PRIMARY])
    content = {
        "key": following.key,
        "fallbacks": list(following.fallbacks),
        "retiring": following.retiring,
    }
    with aws.explained():
        client.put_secret_value(
            SecretId=_find(client, topology), SecretString=json.dumps(content)
        )
    return following


def _find(client: Any, topology: Topology) -> str | None:
    """By its tags, as everything: a replica carries those of the original."""
    filters = [{"Key": "tag-value", "Values": [topology.prefix]}]
    wanted = topology.common_tags.items()
    for page in client.get_paginator("list_secrets").paginate(Filters=filters):
        for found in page["SecretList"]:
            tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
            if wanted <= tags.items():
                return str(found["ARN"])
    return None
