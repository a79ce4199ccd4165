"""Which Python the functions run on here: the deployed one, where it is installed."""

import re
import site
import sys
from functools import cache
from pathlib import Path

from ops.deploy import package
from ops.deploy.options import default_runtime
from ops.deploy.runtime import Target, export, find_interpreter
from ops.paths import PROJECT

HERE = "python{}.{}".format(*sys.version_info)
# What the managed runtime brings besides Python.
CLIENT = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
CLIENT_PINS = re.compile(r"(?:awslambdaric|simplejson|snapshot-restore-py)==")


def choose_runtime() -> str:
    """The pinned runtime; this Python's where no interpreter of that one runs."""
    pinned = default_runtime()
    return pinned if find_interpreter(_target(pinned)) else HERE


def describe_runtime() -> str:
    chosen, pinned = choose_runtime(), default_runtime()
    if chosen == pinned:
        return f"The functions run on {pinned}."
    return (
        f"The functions run on {chosen} instead of {pinned}, of which none runs here: put it "
        f"on PATH to rehearse what is deployed."
    )


def interpreter(runtime: str) -> Path:
    found = find_interpreter(_target(runtime))
    if found is None:
        raise RuntimeError(f"No interpreter of {runtime} runs here.")
    return found


@cache
def client_files(runtime: str) -> tuple[Path, ...]:
    """AWS's runtime client: from this environment, or installed for the other Python."""
    if runtime == HERE:
        packages = Path(site.getsitepackages()[0])
    else:
        lock = export(
            (PROJECT / "requirements" / "dev.txt").read_text(), _target(runtime)
        )
        blocks = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
        pins = "".join(block for block in blocks if CLIENT_PINS.match(block))
        packages = package.dependencies(_target(runtime), pins, None, print)
    return tuple(found for name in CLIENT for found in packages.glob(f"{name}*"))


def _target(runtime: str) -> Target:
    return Target(runtime, "x86_64")
