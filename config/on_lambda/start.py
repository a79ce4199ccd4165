"""What Lambda imports: the handler of zappa_settings.json, ready to serve.

Importing this prepares the process, so only Lambda does; the work is in
``config.on_lambda.handler``.
"""

import logging

from config.on_lambda import lean

lean.leave_out()

# isort: split
from django.core.cache import close_caches  # noqa: E402 - after what is left out
from django.core.signals import request_finished, request_started  # noqa: E402 - the same
from django.db import close_old_connections, reset_queries  # noqa: E402 - the same

from config.on_lambda.handler import lambda_handler  # noqa: E402 - the same
from config.on_lambda.snapshot import start  # noqa: E402 - the same

__all__ = ["lambda_handler"]

# Nothing of this is read on Lambda: Python's "Logging HOWTO", section "Optimization".
logging.logThreads = logging.logProcesses = False
logging.logMultiprocessing = False
# There are no caches, queries are kept under DEBUG only, and how old a connection is
# matters when the next request begins.
request_started.disconnect(reset_queries)
request_finished.disconnect(close_caches)
request_finished.disconnect(close_old_connections)
start()
