"""Checks by the served code itself, with the variables that a function is going to get.

Settings are read once in a process, so each check runs in another one, in which nothing but
those variables is set: ``python -m ops.deploy.preflight CHECK``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from django.core.exceptions import ImproperlyConfigured

from ops.paths import PROJECT

# What an interpreter needs; everything else of the operator's shell stays outside.
SYSTEM = (
    "HOME", "LANG", "LC_ALL", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "SYSTEMROOT", "TMPDIR",
)  # fmt: skip
# Where dsql_verify, and the process that checks a token, read the access token.
TOKEN = "API_TOKEN"  # noqa: S105 - a variable's name
# API_AUTH=none; whoever deploys it has named it.
LETS_EVERYONE_IN = "api.E003"
Finding = tuple[str, str]  # id, empty where the check itself failed, and text


class CheckFailed(Exception):
    """The check could not be run; the last line of its output says why."""


def require_sound(region: str, variables: Mapping[str, str]) -> None:
    """Raise ImproperlyConfigured with every finding of `manage.py check --deploy`."""
    findings = [
        text
        for name, text in _find(check_settings, region, variables)
        if name != LETS_EVERYONE_IN
    ]
    if findings:
        raise ImproperlyConfigured(
            "The functions would be misconfigured; nothing was changed.\n"
            + "\n".join(findings)
        )


def refusal(region: str, variables: Mapping[str, str], token: str) -> str:
    """Why the function would refuse the token for reading and writing users; else empty.

    Judged by the function's own code, with the issuer's keys. Raises ImproperlyConfigured
    when that is not possible.
    """
    found = _find(check_token, region, {**variables, TOKEN: token})
    return " ".join(text for _, text in found)


def unapplied_migrations(region: str, environ: Mapping[str, str]) -> list[str]:
    """The migrations that the database lacks, as /health sees them.

    Raises CheckFailed when the database cannot be read.
    """
    findings = _run(check_schema, region, environ)
    if failures := [text for name, text in findings if not name]:
        raise CheckFailed(" ".join(failures))
    return [name for name, _ in findings]


def _find(
    check: Callable[[], Iterable[Finding]], region: str, variables: Mapping[str, str]
) -> list[Finding]:
    only = {name: os.environ[name] for name in SYSTEM if name in os.environ}
    try:
        return _run(check, region, {**only, **variables})
    except CheckFailed as error:
        raise ImproperlyConfigured(
            f"The deployment checks could not run: {error}"
        ) from error


def _run(
    check: Callable[[], Iterable[Finding]], region: str, environ: Mapping[str, str]
) -> list[Finding]:
    """The findings of a process of its own. Raises CheckFailed."""
    done = subprocess.run(
        [sys.executable, "-m", "ops.deploy.preflight", check.__name__],
        cwd=PROJECT,
        env={
            **environ,
            "AWS_REGION": region,
            "DJANGO_SETTINGS_MODULE": "config.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CheckFailed(" ".join(done.stderr.strip().splitlines()[-1:]))
    return [(name, text) for name, text in json.loads(done.stdout)]


def main(name: str) -> None:
    """Print id and text of each finding as JSON."""
    import django

    findings: Iterable[Finding]
    try:
        django.setup()
    except ImproperlyConfigured as error:
        findings = [("", str(error))]
    else:
        findings = CHECKS[name]()
    sys.stdout.write(json.dumps(list(findings)))


def check_settings() -> Iterator[Finding]:
    from django.core import checks

    for found in checks.run_checks(include_deployment_checks=True):
        if not found.is_silenced():
            yield found.id or "", " ".join(filter(None, (found.msg, found.hint)))


def check_token() -> Iterator[Finding]:
    from config.api import bearer_tokens
    from users.scopes import READ, WRITE

    try:
        scopes = bearer_tokens.verify(os.environ[TOKEN]).scopes
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


def check_schema() -> Iterator[Finding]:
    from django.db import Error

    from config.api import health

    try:
        names = health.unapplied()
    except Error as error:
        yield "", " ".join(str(error).split())
    else:
        yield from ((name, "") for name in names)


CHECKS: dict[str, Callable[[], Iterable[Finding]]] = {
    check.__name__: check for check in (check_settings, check_token, check_schema)
}

if __name__ == "__main__":
    main(*sys.argv[1:])
