"""Lambda's entry point: everything a request needs is made while the function starts.

Init has a whole processor, a request only the share that its memory buys (Lambda
developer guide, "Lambda execution environment"). Zappa builds the application at import
when INSTANTIATE_LAMBDA_HANDLER_ON_IMPORT is set, which the deployment does.
"""

import logging

from django.db import Error, connection
from django.urls import get_resolver
from zappa.handler import lambda_handler

from config.dsql.deadlines import within

__all__ = ["lambda_handler"]

logger = logging.getLogger(__name__)
START_SECONDS = 4.0  # Lambda allows ten for all of the start


def prepare() -> None:
    """Import every view and open the connection; a database that is away can wait."""
    get_resolver().url_patterns  # noqa: B018 - the property imports the views
    try:
        with within(START_SECONDS):
            connection.ensure_connection()
    except Error as error:
        logger.warning("No connection at start-up; the next request retries: %s", error)


prepare()
