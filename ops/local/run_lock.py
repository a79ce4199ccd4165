"""One ``manage.py run`` at a time, and whether it has to stop the sandbox.

The lock ends with its process, however that ends. The content of the file stays, so that
the next run stops a sandbox that a killed one had started.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

NAME = "run.json"  # in the sandbox's directory


class AlreadyRunning(Exception):
    """Another ``manage.py run`` uses the sandbox; the text says which one."""


@dataclass(frozen=True, slots=True)
class Claim:
    pid: int
    urls: tuple[str, ...]
    owns_sandbox: bool


@contextmanager
def only_run(root: Path, urls: Sequence[str], *, sandbox_runs: bool) -> Iterator[Claim]:
    """Be the only run until the block ends. Raises AlreadyRunning."""
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (root / NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(_describe(file)) from None
        before = _read(file)
        inherited = before is not None and before.owns_sandbox
        claim = Claim(os.getpid(), tuple(urls), inherited or not sandbox_runs)
        _write(file, json.dumps(asdict(claim)))
        try:
            yield claim
        finally:
            _write(file, "")


def release(root: Path) -> None:
    """Leave a sandbox that a killed run had started to the user.

    Raises AlreadyRunning while a run uses it.
    """
    path = root / NAME
    if not path.exists():
        return
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(_describe(file)) from None
        _write(file, "")


def _read(file: IO[str]) -> Claim | None:
    file.seek(0)
    try:
        kept = json.loads(file.read())
        return Claim(kept["pid"], tuple(kept["urls"]), kept["owns_sandbox"] is True)
    except (ValueError, KeyError, TypeError):
        return None  # empty, or killed while it was written


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _describe(file: IO[str]) -> str:
    claim = _read(file)
    if claim is None:
        return "manage.py run is already running here. Stop it with Ctrl-C in its terminal."
    return (
        f"manage.py run is already running (process {claim.pid}) and serves "
        f"{' and '.join(claim.urls)}. Stop it with Ctrl-C in its terminal, or with "
        f"`kill {claim.pid}`."
    )
