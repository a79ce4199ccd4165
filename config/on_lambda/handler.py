"""Lambda's entry point: everything a request needs is made while the function starts.

Init has a whole processor, a request only the share that its memory buys (Lambda
developer guide, "Lambda execution environment"). Zappa builds the application at import
when INSTANTIATE_LAMBDA_HANDLER_ON_IMPORT is set, which the deployment does.
"""

import logging
import math
import time

from django.db import Error, connection
from django.urls import get_resolver
from zappa.handler import lambda_handler

from config.dsql.deadlines import STEP, left, within

__all__ = ["lambda_handler"]

logger = logging.getLogger(__name__)
# Lambda kills an init that takes ten seconds and repeats it inside the first request,
# which API Gateway gives 29 in all; a request may use 25 of them for the database.
# Silence is noticed a step late, once for each endpoint: two seconds at the most.
START_SECONDS = 2.0 - 2 * STEP


def prepare() -> None:
    """Import every view and open the connection, in little time and without an error.

    What is found out stays: with the own endpoint silent the connection goes to the
    peer's, and so does the next one. What fails is tried again by the first request,
    which can tell its caller; an error here would only end the process.
    """
    started = time.monotonic()
    try:
        with within(START_SECONDS):
            get_resolver().url_patterns  # noqa: B018 - the property imports the views
            # Half of what is left for each endpoint, names and addresses included.
            with within(math.inf, step=left() / 2):
                connection.ensure_connection()
    except Exception as error:
        logger.warning(
            "Start-up ended after %.2f s without a connection; the first request tries "
            "again: %s",
            time.monotonic() - started, error,
            exc_info=not isinstance(error, Error),
        )  # fmt: skip
    else:
        logger.info(
            "Start-up was done in %.2f s; connected to %s",
            time.monotonic() - started, connection.connection.info.host,
        )  # fmt: skip


prepare()
