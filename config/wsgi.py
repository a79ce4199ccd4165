"""The WSGI application, whichever server calls it."""

import os
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

MAX_PATH = 1024  # characters; no path of this API is half as long


class Request(WSGIRequest):
    """Django's request, without work before the first check that the header could make large.

    Django takes the square of the path's and of Content-Type's length to read them, raises
    for some charsets, and reads the query in the charset of a body.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        # What is left of a longer path is still none of this API's.
        environ["PATH_INFO"] = environ.get("PATH_INFO", "")[:MAX_PATH]
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        media_type = meta.get("CONTENT_TYPE", "").partition(";")[0]
        self.content_type = media_type.strip().lower()
        self.content_params = {}


class Handler(WSGIHandler):
    request_class = Request


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from config.api.guard import guarded  # noqa: E402 - the settings come first

application = guarded(Handler())
