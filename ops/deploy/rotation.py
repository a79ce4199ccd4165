"""A new secret key for Django in both Regions while they serve: one command.

A Region that signs with the new key before the other accepts it would hand out links that
the other refuses. So every function accepts the new key before any signs with it.
"""

import time
from collections.abc import Callable

from config import env
from ops.deploy import function
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
    """Replace the key; the one before is still accepted until the next rotation.

    May be interrupted anywhere: the next run completes what was begun. Raises NotReady,
    secret.SecretMissing or aws.AwsError.
    """
    key = secret.read(topology, PRIMARY)
    if begun := _is_behind(topology, key):
        say("Completing the rotation that was begun ...")
    else:
        key = key.next()
    for stage in topology.regions:
        _accept(topology, stage, key, say)
    if not begun:
        secret.write(topology, key)
    _await_copies(topology, key, sleep)
    for stage, region in topology.regions.items():
        function.add_variables(topology, stage, key.variables())
        say(f"{region}: the new key is in use, the one before is still accepted")


def _is_behind(topology: Topology, key: DjangoKey) -> bool:
    """Whether a deployed function signs with another key than the secret holds."""
    deployed = [function.variables(topology, s) for s in topology.regions]
    return any(has is not None and has.get(SIGNING) != key.key for has in deployed)


def _accept(topology: Topology, stage: str, key: DjangoKey, say: Say) -> None:
    has = function.variables(topology, stage)
    if has is None:
        return
    accepted = env.words(ACCEPTED, env=has)
    if key.key not in (has.get(SIGNING), *accepted):
        variables = {ACCEPTED: ",".join((key.key, *accepted))}
        function.add_variables(topology, stage, variables)
        say(f"{topology.regions[stage]}: the new key is accepted")


def _await_copies(
    topology: Topology, key: DjangoKey, sleep: Callable[[float], None]
) -> None:
    """A deployment takes the key from its own Region: an old one would undo this."""
    for stage, region in topology.regions.items():
        for attempt in range(COPY_ATTEMPTS):
            if secret.read(topology, stage) == key:
                break
            if attempt == COPY_ATTEMPTS - 1:
                raise NotReady(
                    f"{region}: Secrets Manager has not copied the secret yet. Wait a minute and "
                    f"run `manage.py stack rotate-key` again, which completes the rotation."
                )
            sleep(COPY_PAUSE)
