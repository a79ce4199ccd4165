"""The served settings, looking for a lost endpoint's return every second or so."""

from config.settings_ops import *  # noqa: F403 - the same settings, one option more
from config.settings_ops import DATABASES

DATABASES["default"]["OPTIONS"]["return_seconds"] = 1.0
