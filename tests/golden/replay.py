"""Replay of the recordings of a real cluster against the sandbox.

The recordings' README describes the procedure: one connection, setup, every case in
suite order, ROLLBACK after each. ``python -m tests.golden.replay`` prints every miss.
"""

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_interface
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from botocore.credentials import Credentials
from psycopg import pq

from config.dsql.tokens import Endpoint, sign
from ops.sandbox import lifecycle

Send = Callable[[bytes], list[pq.abc.PGresult]]
BOOLEAN, UUID, RECORD, INET, TIMES = 16, 2950, 2249, 869, {1082, 1114, 1184}
ARRAYS = {1007, 1009, 1016, 2951}


@dataclass
class Miss:
    case: str
    sql: str
    wanted: str
    seen: str


@dataclass
class Report:
    """``same`` of ``total`` given observations agree in outcome and SQLSTATE."""

    total: int = 0
    same: int = 0
    misses: list[Miss] = field(default_factory=list)
    details: list[Miss] = field(default_factory=list)  # tag, columns or rows differ

    @property
    def share(self) -> float:
        return self.same / self.total


def connect(status: lifecycle.Status) -> psycopg.Connection[Any]:
    region, keys = status.regions[0], status.credentials
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    return psycopg.connect(
        host=region.endpoint,
        hostaddr=lifecycle.HOST,
        port=status.port,
        user="admin",
        password=sign(Endpoint(region.endpoint, region.region, "admin"), credentials),
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=str(status.sslrootcert),
        autocommit=True,
    )


def load(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    setup = json.loads((folder / "setup.json").read_text())
    cases = {
        case["name"]: case
        for path in sorted(folder.glob("*.json"))
        if path.name != "setup.json"
        for case in json.loads(path.read_text())["cases"]
    }
    return setup, cases


def simple(connection: psycopg.Connection[Any]) -> Send:
    def send(sql: bytes) -> list[pq.abc.PGresult]:
        connection.pgconn.send_query(sql)
        return list(_results(connection.pgconn))

    return send


def extended(connection: psycopg.Connection[Any]) -> Send:
    def send(sql: bytes) -> list[pq.abc.PGresult]:
        return [connection.pgconn.exec_params(sql, [])]

    return send


def _results(connection: pq.abc.PGconn) -> Iterator[pq.abc.PGresult]:
    while (result := connection.get_result()) is not None:
        yield result


def replay(status: lifecycle.Status, folder: Path, *, protocol: str) -> Report:
    setup, cases = load(folder)
    report = Report()
    with connect(status) as connection:
        query = simple(connection)
        send = query if protocol == "simple" else extended(connection)
        for sql in [*setup["setup"], *setup["verify"]]:
            query(sql.encode())
        for name in setup["suite_order"]:
            case = cases.get(name)
            if case and case.get("steps"):
                _case(case, query if case.get("simple_protocol") else send, report)
                query(b"ROLLBACK")
        for sql in setup["cleanup"]:
            query(sql.encode())
    return report


def _case(case: dict[str, Any], send: Send, report: Report) -> None:
    observations = case.get("observations") or [None] * len(case["steps"])
    for sql, wanted in zip(case["steps"], observations, strict=True):
        results = send(sql.encode())
        if wanted is not None:
            _compare(case, sql, wanted, results, report)


def _compare(
    case: dict[str, Any],
    sql: str,
    wanted: dict[str, Any],
    results: list[pq.abc.PGresult],
    report: Report,
) -> None:
    failed = next((r for r in results if r.status == pq.ExecStatus.FATAL_ERROR), None)
    state = _field(failed, pq.DiagnosticField.SQLSTATE) if failed else ""
    text = _field(failed, pq.DiagnosticField.MESSAGE_PRIMARY) if failed else ""
    report.total += 1
    if state == (wanted.get("sqlstate") or ""):
        report.same += 1
    else:
        expected = f"{wanted.get('sqlstate') or 'ok'} {wanted.get('message') or ''}"
        report.misses.append(
            Miss(case["name"], sql, expected, f"{state or 'ok'} {text}")
        )
        return
    if failed:
        _note(case, sql, wanted.get("message"), text, report)
        return
    parts = wanted.get("results") or [wanted]
    for part, result in zip(parts, results, strict=False):
        rows = case.get("ignore_rows")
        if not rows:
            tag = (result.command_status or b"").decode()
            _note(case, sql, part.get("command_tag"), tag, report)
            _note(case, sql, part.get("rows") or [], _rows(result), report)
        columns = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
        _note(case, sql, part.get("columns") or [], columns, report)


def _note(
    case: dict[str, Any], sql: str, wanted: Any, seen: Any, report: Report
) -> None:
    if wanted != seen:
        report.details.append(Miss(case["name"], sql, str(wanted), str(seen)))


def _field(result: pq.abc.PGresult, code: pq.DiagnosticField) -> str:
    return (result.error_field(code) or b"").decode()


def _rows(result: pq.abc.PGresult) -> list[list[str]]:
    return [
        [
            _render(result.get_value(r, c), result.ftype(c))
            for c in range(result.nfields)
        ]
        for r in range(result.ntuples)
    ]


def _render(value: bytes | None, oid: int) -> str:
    """The value as the recordings write it (README, "Values in rows")."""
    if value is None:
        return "NULL"
    text = value.decode()
    if oid == BOOLEAN:
        return {"t": "true", "f": "false"}[text]
    if oid == UUID:
        return f"[{' '.join(str(byte) for byte in uuid.UUID(text).bytes)}]"
    if oid in TIMES:
        return f"{datetime.fromisoformat(text):%Y-%m-%dT%H:%M:%SZ}"
    if oid == INET:
        return str(ip_interface(text))
    if oid in ARRAYS or oid == RECORD:
        return f"[{text[1:-1].replace(',', ' ')}]"
    return text


def main() -> int:
    folder = Path(os.environ["DSQL_GOLDEN_DIR"])
    for protocol in ("extended", "simple"):
        with TemporaryDirectory() as root:
            report = replay(lifecycle.up(Path(root)), folder, protocol=protocol)
            lifecycle.reset(Path(root))
        print(f"{protocol}: {report.same} of {report.total} ({report.share:.1%})")
        for kind, misses in (("miss", report.misses), ("detail", report.details)):
            for miss in misses:
                print(f"  {kind} {miss.case}: {miss.sql}")
                print(f"    wanted {miss.wanted}\n    seen   {miss.seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
