#!/usr/bin/env python
"""Django's command line; the only entry point that reads a ``.env`` file."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from config.dsql.credentials import CredentialsUnavailable
from config.dsql.options import MissingEndpoint
from ops import target


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings_ops")
    try:
        execute_from_command_line(target.choose(sys.argv, os.environ))
    except MissingEndpoint as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"manage.py: {error} {target.advise_endpoint(os.environ)}")
    except (
        CredentialsUnavailable, ImproperlyConfigured, target.TargetError
    ) as error:  # fmt: skip
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"manage.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell reports SIGINT; the commands have cleaned up


if __name__ == "__main__":
    main()
