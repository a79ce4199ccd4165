"""The ``.env`` file that points ``manage.py`` at the sandbox."""

import os
import secrets
from pathlib import Path

from ops.sandbox.lifecycle import Status
from ops.sandbox.state import write_private

MARK = "# Written by `manage.py sandbox up`; `manage.py sandbox reset` removes it."
LOCAL_HOSTS = "localhost,127.0.0.1,[::1]"


def render(variables: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def variables(status: Status, role: str = "primary") -> dict[str, str]:
    """What a process of that Region needs, Django's own knobs included."""
    return {
        **status.environ(role),
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": LOCAL_HOSTS,
        "API_AUTH": "none",
    }


def write_if_none(path: Path, status: Status) -> str:
    """Write the file unless there is one; the sentence says what was found or done."""
    if not path.exists():
        write_private(path, f"{MARK}\n{render(variables(status))}")
        return f"Wrote {path.name}: manage.py uses the sandbox from now on."
    key = status.credentials["AWS_ACCESS_KEY_ID"]
    own = {f"PGPORT={status.port}", f"AWS_ACCESS_KEY_ID={key}"}
    if own <= set(path.read_text().splitlines()):
        return f"{path.name} points at this sandbox."
    return (
        f"{path.name} names another target and was left alone. To use the sandbox: "
        f"manage.py sandbox env > {path.name}"
    )


def point_at(path: Path, variables: dict[str, str]) -> bool:
    """Set the variables in the file if ``write_if_none`` made it for the API in use.

    True when that changed it.
    """
    api = f"AWS_ENDPOINT_URL_DSQL={os.environ.get('AWS_ENDPOINT_URL_DSQL', '')}"
    text = path.read_text() if path.exists() else ""
    lines = text.splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in variables]
    changed = "\n".join(kept) + "\n" + render(variables)
    if (
        not text.startswith(MARK)
        or api not in lines
        or sorted(lines) == sorted(changed.splitlines())
    ):
        return False
    write_private(path, changed)
    return True


def remove_own(path: Path) -> bool:
    """Remove the file if ``write_if_none`` made it."""
    if path.exists() and path.read_text().startswith(MARK):
        path.unlink()
        return True
    return False
