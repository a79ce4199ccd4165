"""Whether a step of the secret key's rotation has reached both Regions."""

from ops.deploy import function
from ops.deploy.found import NotReady
from ops.stacks import secret
from ops.stacks.secret import DjangoKey
from ops.topology import PRIMARY, Topology


def require_in_step(topology: Topology) -> DjangoKey:
    """The key that both secrets hold and every deployed function uses.

    Raises NotReady before another step would leave a Region with keys that the other does
    not accept, and secret.SecretMissing.
    """
    key = secret.read(topology, PRIMARY)
    for stage, region in topology.regions.items():
        if secret.read(topology, stage) != key:
            raise NotReady(
                f"{region}: Secrets Manager has not copied the secret yet. Wait a minute and "
                f"run the command again."
            )
        has = function.variables(*topology.function(stage))
        if has is not None and not key.variables().items() <= has.items():
            raise NotReady(
                f"{region}: {topology.function(stage)[1]} does not use the key's last step yet. "
                f"Run `zappa update {stage}`, then take the next."
            )
    return key
