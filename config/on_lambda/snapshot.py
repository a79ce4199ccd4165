"""The start of the process, and of its copies where Lambda makes some.

Under SnapStart Lambda takes a snapshot after init and restores it in many environments
(developer guide, "Improving startup performance with Lambda SnapStart"). What must not be
the same in all of them, connections and random state, is made after the restoring.
"""

import os
import random
from contextlib import suppress

from django.db import connections

from config.api.health import STATE
from config.dsql.credentials import CONTAINER
from config.dsql.tokens import TOKENS
from config.on_lambda.handler import import_views, prepare

INITIALIZATION = "AWS_LAMBDA_INITIALIZATION_TYPE"
SNAPSTART = "snap-start"


def start() -> None:
    """Prepare the process; under SnapStart its views now, all else after each restoring.

    TLS draws its random numbers from a generator that is seeded when it is first used: no
    connection is opened before the snapshot, or every copy would draw the same.
    """
    if os.environ.get(INITIALIZATION) != SNAPSTART:
        prepare()
        return
    import_views()
    with suppress(ImportError):  # without Lambda's hooks the first request connects
        from snapshot_restore_py import register_after_restore

        register_after_restore(after_restore)


def after_restore() -> None:
    """Drop what the snapshot brought along, and connect."""
    connections.close_all()
    TOKENS.clear()
    CONTAINER.clear()
    STATE.clear()
    random.seed()
    prepare()
