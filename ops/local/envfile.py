"""The ``.env`` file that points ``manage.py`` at the sandbox."""

import secrets
from pathlib import Path

from ops import target_file
from ops.sandbox_status import Status
from ops.target_file import LOCAL_SETTINGS

KEY = "DJANGO_SECRET_KEY"


def variables(status: Status, role: str = "primary") -> dict[str, str]:
    """What a process of that Region needs, Django's own settings included."""
    return {
        **status.environ(role),
        KEY: secrets.token_urlsafe(50),
        **LOCAL_SETTINGS,
    }


def ensure(path: Path, status: Status) -> str:
    """Make the file point at this sandbox, unless the user wrote it.

    Returns a sentence that says what was done.
    """
    desired = variables(status)
    if not path.exists():
        target_file.write(path, desired)
        return f"Wrote {path.name}: manage.py uses the sandbox from now on."
    existing = target_file.read(path)
    differing = [
        name
        for name, value in desired.items()
        if existing.get(name) != value and not (name == KEY and existing.get(name))
    ]
    if not differing:
        return f"{path.name} points at this sandbox."
    if not target_file.is_from_sandbox(path):
        return (
            f"{path.name} names another target and was left alone. To use the sandbox: "
            f"manage.py sandbox env > {path.name}"
        )
    target_file.update(path, {name: desired[name] for name in differing})
    return f"Repaired {path.name}, which named another sandbox: {', '.join(differing)}."


def remove(path: Path) -> bool:
    """Remove the file if the sandbox wrote it."""
    if target_file.is_from_sandbox(path):
        path.unlink()
        return True
    return False
