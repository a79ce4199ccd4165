#!/usr/bin/env python
"""Django's command line; the only entry point that reads a ``.env`` file."""

import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from dotenv import load_dotenv

from config.dsql.tokens import CredentialsUnavailable


def main() -> None:
    # Variables that are already set win: a deployment never depends on .env.
    load_dotenv(Path(__file__).with_name(".env"), override=False)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings_ops")
    try:
        execute_from_command_line(sys.argv)
    except (CredentialsUnavailable, ImproperlyConfigured) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"manage.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell reports SIGINT; the commands have cleaned up


if __name__ == "__main__":
    main()
