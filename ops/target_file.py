"""The ``.env`` file: its format, and whether the sandbox wrote it."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from ops.files import write_private

MARK = "# Written by `manage.py sandbox up`; `manage.py sandbox reset` removes it."
# What Django's settings need to serve this machine only.
LOCAL_SETTINGS = {
    "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
    "API_AUTH": "none",
}


def read(path: Path) -> dict[str, str]:
    """The variables that have a value. Raises OSError and ValueError."""
    return {k: v for k, v in dotenv_values(path).items() if v is not None}


def render(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Make the file, as the sandbox's."""
    write_private(path, f"{MARK}\n{render(variables)}")


def update(path: Path, variables: Mapping[str, str]) -> None:
    """Set these variables and keep every other line."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in variables]
    write_private(path, "\n".join(kept) + "\n" + render(variables))


def update_if_current(path: Path, variables: Mapping[str, str]) -> bool:
    """Set the variables if the file is the sandbox's and names the API in use.

    True when that changed the file.
    """
    api = os.environ.get("AWS_ENDPOINT_URL_DSQL", "")
    if not is_from_sandbox(path):
        return False
    existing = read(path)
    if (
        existing.get("AWS_ENDPOINT_URL_DSQL") != api
        or variables.items() <= existing.items()
    ):
        return False
    update(path, variables)
    return True


def is_from_sandbox(path: Path) -> bool:
    """Whether the sandbox wrote the file, and not the user."""
    return path.exists() and path.read_text().startswith(MARK)
