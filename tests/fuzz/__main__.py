"""``python -m tests.fuzz``: prints the first difference, shrunk; exit code 1 if there is one."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from ops.local.sandbox import lifecycle
from tests.fuzz.sessions import concurrent, prepare, single

PROGRESS_SECONDS = 10.0


class Progress:
    """Says on standard error, now and then, how far a kind of sessions is."""

    def __init__(self, kind: str, sessions: int) -> None:
        self._kind, self._sessions = kind, sessions
        self._began = self._said = time.monotonic()

    def __call__(self, ran: int) -> None:
        now = time.monotonic()
        if now - self._said < PROGRESS_SECONDS:
            return
        self._said = now
        rate = ran / (now - self._began)
        sys.stderr.write(
            f"{self._kind}: {ran} of {self._sessions} sessions, {rate:.1f} a second\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=1000, help="of each kind")
    parser.add_argument("--only", choices=("single", "concurrent"), help="one kind")
    parser.add_argument("--seconds", type=float, default=3600, help="at most")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        # Passable: as root, PostgreSQL runs as another user below it.
        Path(folder).chmod(0o711)
        root = Path(folder) / "sandbox"
        try:
            status = lifecycle.up(root, durable=False)
            prepare(status)
            for kind in (single, concurrent):
                if arguments.only not in (None, kind.__name__):
                    continue
                progress = Progress(kind.__name__, arguments.sessions)
                found = kind(status, arguments.seed, arguments.sessions, end, progress)
                said = (
                    f"{kind.__name__}: {found.sessions} sessions, seed {found.seed}\n"
                )
                sys.stdout.write(
                    said + found.difference + "\n" * bool(found.difference)
                )
                if found.difference:
                    return 1
        finally:
            lifecycle.reset(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
