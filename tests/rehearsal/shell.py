"""The operator's shell of the rehearsal: types lines, and checks what came of them."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from ops.paths import PROJECT
from tests.rehearsal.world import World

VENV = ".venv/bin"
MANAGE, ZAPPA = f"{VENV}/python manage.py", f"{VENV}/zappa"


class Failed(Exception):
    """A line ended with an error, or a check did not hold."""


@dataclass(slots=True)
class Rehearsal:
    """Types lines into the world's shell and keeps what is worth a row of the table."""

    world: World
    rows: list[tuple[str, str]] = field(default_factory=list)

    def type(self, line: str, *, expect: int = 0, **environ: str) -> str:
        """The line's output. Raises Failed when it ends with another code than expected."""
        print(f"$ {line}", flush=True)
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=PROJECT, env={**self.world.environ, **environ}, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        shown = [row for row in done.stdout.splitlines() if row.strip()]
        print("\n".join(f"    {row}" for row in shown[-6:]), flush=True)
        if done.returncode != expect:
            raise Failed(f"`{line}` ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def check(self, what: str, holds: Callable[[], bool] | bool) -> None:
        """Raises Failed naming the check that does not hold."""
        try:
            held = holds() if callable(holds) else holds
        except (AssertionError, KeyError, ValueError, OSError) as error:
            raise Failed(f"{what}: {error!r}") from error
        print(f"  {'ok ' if held else 'NOT'} {what}", flush=True)
        if not held:
            raise Failed(what)
