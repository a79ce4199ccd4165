"""Django's deployment checks, with the variables that a function is going to get.

Settings are read once in a process, so the checks run in another one, in which nothing but
those variables is set: ``python -m ops.deploy.checks``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

from ops.paths import PROJECT

# What an interpreter needs; everything else of the operator's shell stays outside.
SYSTEM = ("HOME", "LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TMPDIR")
# API_AUTH=none; whoever deploys it has named it.
LETS_EVERYONE_IN = "api.E003"


def require_sound(region: str, variables: Mapping[str, str]) -> None:
    """Raise ImproperlyConfigured with every finding of `manage.py check --deploy`."""
    done = subprocess.run(
        [sys.executable, "-m", "ops.deploy.checks"],
        cwd=PROJECT,
        env={
            **{name: os.environ[name] for name in SYSTEM if name in os.environ},
            **variables,
            "AWS_REGION": region,
            "DJANGO_SETTINGS_MODULE": "config.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise ImproperlyConfigured(
            f"The deployment checks could not run: {' '.join(last)}"
        )
    findings = [
        text for name, text in json.loads(done.stdout) if name != LETS_EVERYONE_IN
    ]
    if findings:
        raise ImproperlyConfigured(
            "The functions would be misconfigured; nothing was changed.\n"
            + "\n".join(findings)
        )


def main() -> None:
    """Print id and text of each finding as JSON."""
    import django
    from django.core import checks

    try:
        django.setup()
    except ImproperlyConfigured as error:
        findings = [("", str(error))]
    else:
        findings = [
            (found.id or "", " ".join(filter(None, (found.msg, found.hint))))
            for found in checks.run_checks(include_deployment_checks=True)
            if not found.is_silenced()
        ]
    sys.stdout.write(json.dumps(findings))


if __name__ == "__main__":
    main()
