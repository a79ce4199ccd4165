"""The first page of GET /users against deep ones, at a million users: time and rows read."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.api.pagination import Cursor
from ops.local.sandbox.lifecycle import Status
from ops.local.sandbox.postgres import Postgres
from tests.benchmarks.figures import Figure, alternate, compare
from users.selectors import ALL, NEWEST, Filters, user_list

GOAL = 1.5
FILTER_GOAL = 2.0  # a filter is compiled too; one without an index costs hundreds
USERS = 1_000_000
DEPTHS = {"middle page": USERS // 2, "last page": USERS - 200}
LIMIT = 50
FILTERED = {
    "prefix of all names": Filters(name_prefix="USER "),
    "prefix of a thousand names": Filters(name_prefix="user 777"),
    "range of all times": Filters(created_from=datetime(2000, 1, 1, tzinfo=UTC)),
    "e-mail": Filters(email="USER500000@example.com"),
}
FILTERED_QUERIES = {
    "prefix of all names": {"name_prefix": "USER "},
    "range of all times": {"created_from": "2000-01-01T00:00:00Z"},
}
ROUNDS, CALLS = 15, 10
# Two users share each moment, so that the order needs both columns.
LOAD = """
    INSERT INTO users_user (id, name, email, created_at, updated_at)
    SELECT gen_random_uuid(), 'User ' || n, 'user' || n || '@example.com', t, t
    FROM generate_series(1, %s) n, LATERAL (SELECT now() - n / 2 * interval '1 s') m(t)
"""
AT_DEPTH = """
    SELECT created_at, id FROM users_user ORDER BY created_at DESC, id DESC
    LIMIT 1 OFFSET %s
"""


def measure(status: Status) -> list[Figure]:
    """Wall time: the walk through the index is the database's, not the client's."""
    cursors = load(status)
    figures: list[Figure] = []
    for layer, page in (("selector", select), ("HTTP", get(Client()))):
        first = f"{layer}, first page"
        subjects = {first: page(None)}
        deep = {f"{layer}, {name}": page(at) for name, at in cursors.items()}
        taken = alternate(
            subjects | deep, rounds=ROUNDS, calls=CALLS, clock=time.perf_counter
        )
        figures += [compare(taken, name, first, at_most=GOAL) for name in deep]
    return [*figures, *filtered(), *explained(status, cursors)]


def explained(status: Status, cursors: dict[str, Cursor]) -> Iterator[Figure]:
    """What PostgreSQL reads for a page: the rows of one index, one more than it shows."""
    back = {
        f"{name}, backwards": replace(cursor, forward=False)
        for name, cursor in cursors.items()
    }
    pages: dict[str, dict[str, str]] = {"first page": {}}
    pages |= {name: {"cursor": at.encode()} for name, at in (cursors | back).items()}
    pages |= FILTERED_QUERIES
    client = Client()
    with Postgres(status.root).connect() as postgres:
        for name, query in pages.items():
            with CaptureQueriesContext(connection) as captured:
                client.get("/users", {"limit": str(LIMIT), **query})
            statement = captured.captured_queries[-1]["sql"]
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
            row: Any = postgres.execute(explain.encode()).fetchone()
            scans = list(find_scans(row[0][0]["Plan"]))
            used = ", ".join(scan.get("Index Name", "no index") for scan in scans)
            yield Figure(f"{name}: scans", len(scans), "", at_most=1, note=used)
            read = sum(count_rows(scan) for scan in scans)
            yield Figure(f"{name}: rows read", read, "", at_most=LIMIT + 1)


def find_scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes that read a table or an index."""
    if plan["Node Type"].endswith("Scan") and "Plans" not in plan:
        yield plan
    for below in plan.get("Plans", ()):
        yield from find_scans(below)


def count_rows(scan: dict[str, Any]) -> int:
    """Those that it passed on and those that it read in vain, of all its loops."""
    each = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(sum(scan.get(name, 0) for name in each) * scan["Actual Loops"])


def filtered() -> list[Figure]:
    """What every user matches, what one in a thousand does, and what one does."""
    subjects = {"selector, no filter": select(None)}
    for name, filters in FILTERED.items():
        subjects[f"selector, {name}"] = select(None, filters)
    taken = alternate(subjects, rounds=ROUNDS, calls=CALLS, clock=time.perf_counter)
    first, *others = subjects
    return [compare(taken, name, first, at_most=FILTER_GOAL) for name in others]


def load(status: Status) -> dict[str, Cursor]:
    """A million users, straight into PostgreSQL; the cursors to the deep pages."""
    with Postgres(status.root).connect() as postgres:
        found: Any = postgres.execute("SELECT count(*) FROM users_user").fetchone()
        postgres.execute(LOAD, (max(0, USERS - found[0]),))
        postgres.execute("VACUUM ANALYZE users_user")
        cursors = {}
        for name, depth in DEPTHS.items():
            row: Any = postgres.execute(AT_DEPTH, (depth,)).fetchone()
            cursors[name] = Cursor(NEWEST, row, forward=True)
    return cursors


def select(cursor: Cursor | None, filters: Filters = ALL) -> Callable[[], object]:
    expected = 1 if filters.email else LIMIT

    def page() -> None:
        users = user_list(limit=LIMIT, cursor=cursor, filters=filters).rows
        full(len(users), expected)

    return page


def get(client: Client) -> Callable[[Cursor | None], Callable[[], object]]:
    def at(cursor: Cursor | None) -> Callable[[], object]:
        query = {"limit": str(LIMIT)} | ({"cursor": cursor.encode()} if cursor else {})

        def page() -> None:
            full(client.get("/users", query).json()["count"])

        return page

    return at


def full(count: int, expected: int = LIMIT) -> None:
    if count != expected:
        raise RuntimeError(f"expected {expected} users, got {count}")
