"""The ``.env`` file that points ``manage.py`` at the sandbox."""

import os
import secrets
from pathlib import Path

from dotenv import dotenv_values

from ops.local.sandbox.lifecycle import Status
from ops.local.sandbox.state import write_private

MARK = "# Written by `manage.py sandbox up`; `manage.py sandbox reset` removes it."
LOCAL_HOSTS = "localhost,127.0.0.1,[::1]"
KEY = "DJANGO_SECRET_KEY"
KNOBS = {"ALLOWED_HOSTS": LOCAL_HOSTS, "API_AUTH": "none"}


def render(variables: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def variables(status: Status, role: str = "primary") -> dict[str, str]:
    """What a process of that Region needs, Django's own settings included."""
    return {**status.environ(role), KEY: secrets.token_urlsafe(50), **KNOBS}


def ensure(path: Path, status: Status) -> str:
    """Have the file name this sandbox, unless it is the user's own.

    Returns a sentence that says what was found or done.
    """
    wanted = variables(status)
    if not path.exists():
        write_private(path, f"{MARK}\n{render(wanted)}")
        return f"Wrote {path.name}: manage.py uses the sandbox from now on."
    found = dotenv_values(path)
    differing = [
        name
        for name, value in wanted.items()
        if found.get(name) != value and not (name == KEY and found.get(name))
    ]
    if not differing:
        return f"{path.name} points at this sandbox."
    if not is_own(path):
        return (
            f"{path.name} names another target and was left alone. To use the sandbox: "
            f"manage.py sandbox env > {path.name}"
        )
    _rewrite(path, {name: wanted[name] for name in differing})
    return f"Repaired {path.name}, which named another sandbox: {', '.join(differing)}."


def point_at(path: Path, variables: dict[str, str]) -> bool:
    """Set the variables in the file if ``ensure`` made it for the API in use.

    True when that changed it.
    """
    api = os.environ.get("AWS_ENDPOINT_URL_DSQL", "")
    if not is_own(path):
        return False
    found = dotenv_values(path)
    if found.get("AWS_ENDPOINT_URL_DSQL") != api or variables.items() <= found.items():
        return False
    _rewrite(path, variables)
    return True


def _rewrite(path: Path, variables: dict[str, str]) -> None:
    """Change these variables and keep every other line."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in variables]
    write_private(path, "\n".join(kept) + "\n" + render(variables))


def is_own(path: Path) -> bool:
    """Whether ``ensure`` made the file."""
    return path.exists() and path.read_text().startswith(MARK)


def remove_own(path: Path) -> bool:
    """Remove the file if ``ensure`` made it."""
    if is_own(path):
        path.unlink()
        return True
    return False
