"""What Lambda imports: the handler of zappa_settings.json, ready to serve.

Importing this prepares the process, so only Lambda does; the work is in
``config.on_lambda.handler``.
"""

from config.on_lambda import lean

lean.leave_out()

from config.on_lambda.handler import lambda_handler  # noqa: E402 - after what is left out
from config.on_lambda.snapshot import start  # noqa: E402 - the same

__all__ = ["lambda_handler"]

start()
