"""Django's deployment checks, with the variables that a function is going to get.

Settings are read once in a process, so the checks run in another one, in which nothing but
those variables is set: ``python -m ops.deploy.checks``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping

from django.core.exceptions import ImproperlyConfigured

from ops.paths import PROJECT

# What an interpreter needs; everything else of the operator's shell stays outside.
SYSTEM = (
    "HOME", "LANG", "LC_ALL", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "SYSTEMROOT", "TMPDIR",
)  # fmt: skip
# Where an access token is looked for: by dsql_verify, and by that other process.
TOKEN = "API_TOKEN"  # noqa: S105 - a variable's name
# API_AUTH=none; whoever deploys it has named it.
LETS_EVERYONE_IN = "api.E003"


def require_sound(region: str, variables: Mapping[str, str]) -> None:
    """Raise ImproperlyConfigured with every finding of `manage.py check --deploy`."""
    findings = [
        text for name, text in _ask(region, variables) if name != LETS_EVERYONE_IN
    ]
    if findings:
        raise ImproperlyConfigured(
            "The functions would be misconfigured; nothing was changed.\n"
            + "\n".join(findings)
        )


def refusal(region: str, variables: Mapping[str, str], token: str) -> str:
    """Why the function would not let the token's holder read and write users; else empty.

    Judged by the function's own code, with the issuer's keys. Raises ImproperlyConfigured
    when it cannot be.
    """
    found = _ask(region, {**variables, TOKEN: token})
    return " ".join(text for _, text in found)


def _ask(region: str, variables: Mapping[str, str]) -> list[list[str]]:
    """Id and text of each finding of a process of its own."""
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
    findings: list[list[str]] = json.loads(done.stdout)
    return findings


def main() -> None:
    """Print id and text of each finding as JSON: of the token if there is one."""
    import django

    findings: Iterable[tuple[str, str]]
    try:
        django.setup()
    except ImproperlyConfigured as error:
        findings = [("", str(error))]
    else:
        token = os.environ.get(TOKEN)
        findings = _of_settings() if token is None else _of_token(token)
    sys.stdout.write(json.dumps(list(findings)))


def _of_settings() -> Iterable[tuple[str, str]]:
    from django.core import checks

    return [
        (found.id or "", " ".join(filter(None, (found.msg, found.hint))))
        for found in checks.run_checks(include_deployment_checks=True)
        if not found.is_silenced()
    ]


def _of_token(token: str) -> Iterable[tuple[str, str]]:
    from config.api import bearer_tokens
    from users.scopes import READ, WRITE

    try:
        scopes = bearer_tokens.verify(token).scopes
    except bearer_tokens.InvalidToken as error:
        yield "", str(error)
    except bearer_tokens.NoKeys:
        yield (
            "",
            "The issuer's keys cannot be read from here. Correct OIDC_ISSUER or OIDC_JWKS_URL, "
            "or the way there: the functions read them too.",
        )
    else:
        if missing := sorted({READ, WRITE} - scopes):
            yield "", f"The token lacks the scope {' and '.join(missing)}."


if __name__ == "__main__":
    main()
