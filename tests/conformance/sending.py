"""Which shapes the product's own commands send, each in a process of its own.

Their sandbox serves nobody else, so no statement of a test is among them.
"""

import subprocess
import sys
from collections.abc import Callable

from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from ops.paths import PROJECT
from tests.checkout import Checkout

SECONDS = 120
# What the programs of tests/ send by themselves, to have a schema and to forget a migration.
OF_THE_TESTS = {
    "CREATE SCHEMA cutting",
    "DROP SCHEMA IF EXISTS cutting CASCADE",
    """DELETE FROM "n" WHERE "n" = '?'""",
}
RUNTIME = {
    "DSQL_USER": "app",
    "DJANGO_SECRET_KEY": "k" * 50,
    "API_AUTH": "none",
    "ALLOWED_HOSTS": "testserver",
}


def sent(
    checkout: Checkout, statements: dict[str, list[str]] | None = None
) -> dict[str, list[str]]:
    """The shapes by command; the order is that of a deployment's life.

    ``statements`` gets what each command sent as it came.
    """
    _run(checkout.manage("sandbox", "up"))
    switch = FaultClient(checkout.root / ".sandbox")
    # A conflict, which comes or does not, ends a transaction so.
    found = {"any command": ["ROLLBACK"]}
    for name, work in _commands(checkout).items():
        switch.collect()
        work()
        found[name] = [s for s in switch.shapes() if s not in OF_THE_TESTS]
        if statements is not None:
            statements[name] = list(switch.statements())
    return found


def _commands(checkout: Checkout) -> dict[str, Callable[[], None]]:
    def manage(*arguments: str) -> Callable[[], None]:
        return lambda: _run(checkout.manage(*arguments))

    def serve() -> None:
        keys = lifecycle.status(checkout.root / ".sandbox").runtime["primary"]
        _program(checkout, "tests.conformance.serving", RUNTIME | keys)

    def contrib(module: str) -> Callable[[], None]:
        return lambda: _program(checkout, module, {})

    return {
        "dsql_provision": manage("dsql_provision"),
        "dsql_database": manage("dsql_database"),
        "dsql_database --remap": manage("dsql_database", "--remap"),
        "dsql_verify": manage("dsql_verify", "--rounds", "1"),
        "serving": serve,
        "contrib": contrib("tests.contrib_project.browsing"),
        "contrib, continued": contrib("tests.conformance.continuing"),
        "delete_expired_responses": manage("delete_expired_responses"),
        "migrate backwards": manage("migrate", "users", "zero"),
        "dsql_destroy": manage("dsql_destroy", "--yes", "--prefix", "multi-region-app"),
    }


def _program(checkout: Checkout, module: str, environ: dict[str, str]) -> None:
    target = lifecycle.status(checkout.root / ".sandbox").environ()
    _run(
        subprocess.run(
            [sys.executable, "-m", module],
            cwd=PROJECT,
            env=checkout.environ | target | environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    )


def _run(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, (done.args, done.stdout[-2000:], done.stderr[-2000:])
