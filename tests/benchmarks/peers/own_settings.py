"""The served settings without the middleware that a measurement leaves out."""

import os

from config.settings import *  # noqa: F403 - the same, a middleware less
from config.settings import MIDDLEWARE as SERVED

MIDDLEWARE = [name for name in SERVED if name != os.environ.get("WITHOUT_MIDDLEWARE")]
