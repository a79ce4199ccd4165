"""IAM policy documents for provisioning, deploying and serving, and nothing more. Pure.

Actions and resources are those of the service authorization reference. ``NOTES`` say what
a document cannot: who should use it, and what its holder can do nevertheless.
"""

from collections.abc import Callable

from ops.policies.clusters import provision
from ops.policies.deployment import deploy
from ops.policies.document import Document, Scope
from ops.policies.functions import boundary, runtime, trust

__all__ = ["NOTES", "PURPOSES", "Scope"]

PURPOSES: dict[str, Callable[[Scope], Document]] = {
    "provision": provision,
    "deploy": deploy,
    "runtime": runtime,
    "trust": trust,
    "boundary": boundary,
}
NOTES = {
    "provision": (
        "Its holder is the administrator of the database: may delete the clusters with all "
        "data, and tag as ours, then delete, a cluster that carries no tags Application and "
        "ManagedBy."
    ),
    "deploy": (
        "Its holder is no administrator of the account as long as others make the boundary, because "
        "no role can exceed it. But the holder is the administrator of the application: connects "
        "to the database as admin, runs any code as the functions with all that they may do, "
        "reads and replaces Django's key, and decides who may take the functions' roles and which "
        "API of API Gateway and which rule of EventBridge, of any account, may invoke the "
        "functions. Beyond "
        "the application, may read every log group of the account by API Gateway's logging role, "
        "and may tag any REST API of the two Regions as ours, then change it."
    ),
    "runtime": "The whole policy of one function's IAM role; --role says whose.",
    "trust": "Who may take one function's IAM role; --role says whose.",
    "boundary": (
        "The managed policy {prefix}-boundary: the most that the functions' roles may ever do. "
        "Those who deploy must not be able to change it. `manage.py stack deploy` creates it when an "
        "administrator runs it."
    ),
}
