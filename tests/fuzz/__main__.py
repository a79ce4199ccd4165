"""``python -m tests.fuzz``: prints the first difference, shrunk; exit code 1 if there is one."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from ops.local.sandbox import lifecycle
from tests.fuzz.sessions import concurrent, prepare, single


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
                found = kind(status, arguments.seed, arguments.sessions, end)
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
