"""Replay of the recordings of a real cluster against the sandbox.

The recordings' README describes the procedure: one connection, setup, every case in
suite order, ROLLBACK after each; cases of two sessions run on connections of their own at
the same time, each step when both have ended the one before. ``python -m tests.golden.replay [runs]`` prints every miss.
"""

import json
import os
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_interface
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg import pq

from config.dsql.credentials import Credentials
from config.dsql.tokens import Endpoint, sign
from ops.local.sandbox import lifecycle

Seen = tuple[str, str]  # SQLSTATE, or "" and the command tag
STEP_SECONDS = 15
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
    """``same`` of ``total`` given observations agree in outcome and SQLSTATE.

    ``pairs_same`` of ``pairs`` are the cases of two sessions, which agree as a whole.
    """

    total: int = 0
    same: int = 0
    pairs: int = 0
    pairs_same: int = 0
    misses: list[Miss] = field(default_factory=list)
    details: list[Miss] = field(default_factory=list)  # tag, columns or rows differ

    @property
    def share(self) -> float:
        return self.same / self.total


def connect(
    status: lifecycle.Status,
    *,
    user: str = "admin",
    keys: Mapping[str, str] | None = None,
) -> psycopg.Connection[Any]:
    region, keys = status.regions[0], keys or status.credentials
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    return psycopg.connect(
        host=region.endpoint,
        hostaddr=lifecycle.HOST,
        port=status.port,
        user=user,
        password=sign(Endpoint(region.endpoint, region.region, user), credentials),
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
            elif case:
                pair = Pair(status, protocol)
                _compare_pair(case, pair.run(setup["sessions"][name]), report)
        for sql in setup["cleanup"]:
            query(sql.encode())
    return report


@dataclass
class Pair:
    """Sessions that run their steps side by side: nobody begins one before all ended one."""

    status: lifecycle.Status
    protocol: str

    def run(self, scripts: list[list[str]]) -> list[list[Seen]]:
        """What each session saw at each step. Raises TimeoutError when one hangs."""
        seen: list[list[Seen]] = [[] for _ in scripts]
        barrier = threading.Barrier(len(scripts))
        steps = max(map(len, scripts))

        def work(script: list[str], into: list[Seen]) -> None:
            with connect(self.status) as connection:
                query = simple(connection)
                send = query if self.protocol == "simple" else extended(connection)
                for number in range(steps):
                    barrier.wait(STEP_SECONDS)
                    if number < len(script):
                        into.append(_seen(send(script[number].encode())))

        threads = [
            threading.Thread(target=work, args=job, daemon=True)
            for job in zip(scripts, seen, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STEP_SECONDS * steps)
            if thread.is_alive():
                raise TimeoutError(f"a step of {scripts} did not end")
        return seen


def _seen(results: list[pq.abc.PGresult]) -> Seen:
    (result,) = results
    state = _field(result, pq.DiagnosticField.SQLSTATE)
    return state, "" if state else (result.command_status or b"").decode()


def _compare_pair(case: dict[str, Any], seen: list[list[Seen]], report: Report) -> None:
    wanted = [
        [(o.get("sqlstate") or "", o.get("command_tag") or "") for o in session]
        for session in case["sessions"]
    ]
    report.pairs += 1
    if case.get("conflict_race"):  # who loses is a race: any session may, at that step
        agree = [Counter(step) for step in zip(*wanted, strict=True)] == [
            Counter(step) for step in zip(*seen, strict=True)
        ]
    else:
        agree = wanted == seen
    if agree:
        report.pairs_same += 1
    else:
        report.misses.append(Miss(case["name"], "", str(wanted), str(seen)))


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
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    for protocol in ("extended", "simple") * runs:
        with TemporaryDirectory() as root:
            try:
                report = replay(
                    lifecycle.up(Path(root), durable=False), folder, protocol=protocol
                )
            finally:
                lifecycle.reset(Path(root))
        print(
            f"{protocol}: {report.same} of {report.total} ({report.share:.1%}), "
            f"two sessions: {report.pairs_same} of {report.pairs}"
        )
        for kind, misses in (("miss", report.misses), ("detail", report.details)):
            for miss in misses:
                print(f"  {kind} {miss.case}: {miss.sql}")
                print(f"    wanted {miss.wanted}\n    seen   {miss.seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
