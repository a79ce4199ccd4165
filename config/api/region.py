"""The Region that serves, and the API of the other one."""

import os
from urllib.parse import urlsplit

from django.conf import settings


def serving_region() -> str:
    """Lambda sets AWS_REGION."""
    return os.environ.get("AWS_REGION", "")


def peer_origin() -> str:
    """The origin of the other Region's API, whose page reads this one's health."""
    parts = urlsplit(settings.PEER_URL)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
