"""Rotation of Django's secret key in both Regions while they serve.

A Region that signed with the new key before the other accepts it would return links that
the other refuses. So every function accepts the new key before any signs with it.
"""

import time
from collections.abc import Callable

from config import env
from ops.deploy.function import Function
from ops.ownership import NotReady
from ops.stacks import secret
from ops.stacks.secret import DjangoKey
from ops.topology import PRIMARY, Topology

SIGNING, ACCEPTED = "DJANGO_SECRET_KEY", "DJANGO_SECRET_KEY_FALLBACKS"
COPY_ATTEMPTS, COPY_PAUSE = 20, 3.0  # Secrets Manager copies within seconds
Say = Callable[[str], None]


def rotate(
    topology: Topology, say: Say, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Replace the key; the previous key stays accepted until the next rotation.

    May be interrupted anywhere: the next run completes the rotation. Raises NotReady,
    secret.SecretMissing or aws.AwsError.
    """
    key = secret.read(topology, PRIMARY)
    if unfinished := _is_behind(topology, key):
        say("Completing the rotation that was interrupted ...")
    else:
        key = key.next()
    for role in topology.regions:
        _accept(topology, role, key, say)
    if not unfinished:
        secret.write(topology, key)
    _await_copies(topology, key, sleep)
    for role, region in topology.regions.items():
        Function(topology, role).add_variables(key.variables())
        say(f"{region}: the new key is in use, the previous key is still accepted")


def _is_behind(topology: Topology, key: DjangoKey) -> bool:
    """Whether a deployed function signs with another key than the secret holds."""
    deployed = [Function(topology, each).variables() for each in topology.regions]
    return any(each is not None and each.get(SIGNING) != key.key for each in deployed)


def _accept(topology: Topology, role: str, key: DjangoKey, say: Say) -> None:
    existing = Function(topology, role).variables()
    if existing is None:
        return
    accepted = env.words(ACCEPTED, env=existing)
    if key.key not in (existing.get(SIGNING), *accepted):
        variables = {ACCEPTED: ",".join((key.key, *accepted))}
        Function(topology, role).add_variables(variables)
        say(f"{topology.regions[role]}: the new key is accepted")


def _await_copies(
    topology: Topology, key: DjangoKey, sleep: Callable[[float], None]
) -> None:
    """A deployment reads the key in its own Region: an old copy would undo the rotation."""
    for role, region in topology.regions.items():
        for attempt in range(COPY_ATTEMPTS):
            if secret.read(topology, role) == key:
                break
            if attempt == COPY_ATTEMPTS - 1:
                raise NotReady(
                    f"{region}: Secrets Manager has not copied the secret yet. Wait a minute and "
                    f"run `manage.py stack rotate-key` again, which completes the rotation."
                )
            sleep(COPY_PAUSE)
