"""The promise, checked: both endpoints serve, and a write in one is seen in the other."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from config.api.health import unapplied
from config.dsql.retry import run_statement
from config.dsql.tokens import region_of
from ops.clusters import failover
from users.models import User

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
INVALID_INDEXES = """
    SELECT indexrelid::regclass::text FROM pg_catalog.pg_index
    JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid
    WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace
"""
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check: its outcome, why, and what to do about it."""

    name: str
    target: str
    outcome: str
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Replication:
    """Write here, read there: ``stale`` counts reads that missed the write before them."""

    rounds: int
    stale: int
    write_ms: dict[str, float]
    read_ms: dict[str, float]


@dataclass(slots=True)
class Report:
    checks: list[Check] = field(default_factory=list)
    replication: Replication | None = None

    @property
    def ok(self) -> bool:
        return all(check.outcome == OK for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


class CheckFailed(Exception):
    """What is wrong, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


class Verifier:
    """Runs the checks over connections of its own; ``close`` gives them back."""

    def __init__(self, endpoints: list[str], tell: Callable[[Check], None]) -> None:
        self.tell = tell
        self.report = Report()
        self.aliases = {f"verify-{host}": host for host in endpoints}
        for alias, host in self.aliases.items():
            # Without a peer: each endpoint is to answer for itself.
            connections.databases[alias] = failover.settings_for(host)

    def close(self) -> None:
        for alias in self.aliases:
            connections[alias].close()
            del connections[alias]
            del connections.databases[alias]

    def run(self, rounds: int) -> Report:
        reachable = [self._endpoint(alias) for alias in self.aliases]
        name, target = "replication", "both"
        if len(self.aliases) < 2:
            hint = "Set DSQL_PEER_ENDPOINT to the other Region's endpoint."
            self._add(Check(name, target, FAILED, "Only one endpoint is known.", hint))
        elif not all(reachable):
            self._add(Check(name, target, SKIPPED, "An endpoint failed above."))
        else:
            with self._check(name, target):
                self._replicate(rounds)
            first, second = self.aliases.values()
            for own, peer in ((first, second), (second, first)):
                with self._check("failover", region_of(own) or own):
                    _fail_over(own, peer)
        return self.report

    def _endpoint(self, alias: str) -> bool:
        target = region_of(self.aliases[alias]) or self.aliases[alias]
        for name, work in (
            ("login", self._login),
            ("migrations", self._migrations),
            ("indexes", self._indexes),
        ):
            with self._check(name, target):
                work(alias)
            if self.report.checks[-1].outcome != OK:
                return False
        return True

    @contextmanager
    def _check(self, name: str, target: str) -> Iterator[None]:
        started = time.perf_counter()
        outcome, reason, hint = OK, "", ""
        try:
            yield
        except CheckFailed as failed:
            outcome, reason, hint = FAILED, failed.reason, failed.hint
        except (DatabaseError, ImproperlyConfigured) as error:
            outcome, reason = FAILED, " ".join(str(error).split())
        seconds = time.perf_counter() - started
        self._add(Check(name, target, outcome, reason, hint, round(seconds, 4)))

    def _add(self, check: Check) -> None:
        self.report.checks.append(check)
        self.tell(check)

    @staticmethod
    def _login(alias: str) -> None:
        """TLS with a verified name, and a token the endpoint accepts."""
        try:
            connections[alias].ensure_connection()
        except DatabaseError as error:
            raise CheckFailed(
                " ".join(str(error).split()), _login_hint(str(error))
            ) from error
        connection = connections[alias].connection
        if not connection.pgconn.ssl_in_use:
            raise CheckFailed("The connection is not encrypted.", "Remove sslmode.")

    @staticmethod
    def _migrations(alias: str) -> None:
        if missing := unapplied(alias):
            raise CheckFailed(
                f"Not applied: {', '.join(missing)}", "Run manage.py migrate."
            )

    @staticmethod
    def _indexes(alias: str) -> None:
        invalid = [row[0] for row in _fetch(alias, INVALID_INDEXES)]
        if invalid:
            hint = "Wait for its job (sys.jobs), or drop it and migrate again."
            raise CheckFailed(f"Not valid: {', '.join(invalid)}", hint)

    def _replicate(self, rounds: int) -> None:
        """Each round writes in either Region and reads the other at once."""
        first, second = self.aliases
        key, stale = uuid.uuid4(), 0
        writes: list[float] = []
        reads: list[float] = []
        email = f"dsql-verify-{key}@example.invalid"
        _timed(first, lambda: User(id=key, name="new", email=email).save(using=first))
        try:
            for here, there in ((first, second), (second, first)) * rounds:
                mark = str(uuid.uuid4())
                writes.append(_write(here, key, mark))
                seen, took = _read(there, key)
                reads.append(took)
                stale += seen != mark
        finally:
            _timed(first, User.objects.using(first).filter(pk=key).delete)
        self.report.replication = Replication(
            2 * rounds, stale, percentiles(writes), percentiles(reads)
        )
        if stale:
            raise CheckFailed(f"{stale} of {2 * rounds} reads missed the write before.")


def _fail_over(own: str, peer: str) -> None:
    """Go the way out of a Region whose endpoint is lost. Raises CheckFailed."""
    if failover.serving_without(own, peer) != region_of(peer):
        raise CheckFailed(
            f"{own} was to be avoided, but served.",
            f"Can {peer} be reached from here, by the same role?",
        )


def _write(alias: str, key: uuid.UUID, name: str) -> float:
    rows = User.objects.using(alias).filter(pk=key)
    return _timed(alias, lambda: rows.update(name=name))[1]


def _read(alias: str, key: uuid.UUID) -> tuple[str | None, float]:
    names = User.objects.using(alias).filter(pk=key).values_list("name", flat=True)
    return _timed(alias, lambda: next(iter(names.all()), None))


def _login_hint(error: str) -> str:
    for part, hint in (
        ("access denied", "Check the credentials and who is mapped to this role."),
        ("certificate verify failed", "Check PGSSLROOTCERT; unset it for AWS itself."),
        ("onnection refused", "Is the sandbox up? manage.py sandbox up"),
        ("resolve", "Check the endpoint's name and the network."),
    ):
        if part in error:
            return hint
    return ""


def _fetch(alias: str, sql: str) -> list[Row]:
    def work() -> list[Row]:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return run_statement(work, using=alias)


def _timed(alias: str, work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the milliseconds it took, repeats included."""
    started = time.perf_counter()
    result = run_statement(work, using=alias)
    return result, (time.perf_counter() - started) * 1000


def percentiles(values: list[float]) -> dict[str, float]:
    """Nearest-rank p50 and p95 in milliseconds."""
    ordered = sorted(values)
    return {
        f"p{rank}": round(ordered[max(0, -(-rank * len(ordered) // 100) - 1)], 2)
        for rank in (50, 95)
    }
