"""Each fault as a client meets it, over real connections."""

import json
import select
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from config.dsql.credentials import Credentials
from config.dsql.tokens import Endpoint, sign
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from ops.local.sandbox.faults import Fault, FaultError, Faults
from ops.management.commands import sandbox as command

Connect = Callable[..., psycopg.Connection[Any]]
PRIMARY, SECONDARY = "us-east-1", "us-east-2"
LOST = (psycopg.OperationalError, psycopg.InterfaceError)


@pytest.fixture
def connect(sandbox: lifecycle.Status) -> Iterator[Connect]:
    opened: list[psycopg.Connection[Any]] = []
    key, secret = sandbox.credentials.values()
    keys = Credentials(key, secret)

    def open_connection(region: str = PRIMARY, **more: Any) -> psycopg.Connection[Any]:
        host = next(r.endpoint for r in sandbox.regions if r.region == region)
        token = sign(Endpoint(host, region, "admin"), keys)
        login: dict[str, Any] = {
            "host": host,
            "user": "admin",
            "password": token,
            "dbname": "postgres",
        }
        opened.append(
            psycopg.connect(**login, sslmode="verify-full", autocommit=True, **more)
        )
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.close()


@pytest.fixture
def table(connect: Connect) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the other Region, beside an empty table of numbers."""
    connection = connect(SECONDARY, application_name="bystander")
    connection.execute("CREATE TABLE fault (n int)")
    yield connection
    connection.execute("DROP TABLE fault")


def numbers(connection: psycopg.Connection[Any]) -> list[int]:
    return [n for (n,) in connection.execute("SELECT n FROM fault ORDER BY n")]


def ask_forever(connection: psycopg.Connection[Any]) -> None:
    while True:
        connection.execute("SELECT pg_sleep(0.01)")


def test_a_region_goes_down_and_returns(connect: Connect, faults: FaultClient) -> None:
    here, there = connect(), connect(SECONDARY)
    faults.add("down", region=PRIMARY)
    assert faults.connections()[PRIMARY] == 0
    with pytest.raises(LOST):
        here.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert there.execute("SELECT 1").fetchone() == (1,)
    assert faults.clear() == 1
    assert connect().execute("SELECT 1").fetchone() == (1,)


def test_refuse_spares_what_is_open_and_cut_what_is_new(
    connect: Connect, faults: FaultClient
) -> None:
    open_one = connect()
    faults.add("refuse", region=PRIMARY, times=1)
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert open_one.execute("SELECT 1").fetchone() == (1,)
    faults.add("cut", region=PRIMARY)
    with pytest.raises(LOST):
        open_one.execute("SELECT 1")
    assert connect().execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("waking-up", "unable to accept connection, waking up cluster, please retry"),
        ("too-many-connections", "Unable to accept connection, too many open"),
        ("rate-exceeded", "Unable to accept connection, rate exceeded."),
        ("unavailable", "server unavailable"),
        ("expired-credentials", "unable to accept connection, access denied"),
        ("revoked-credentials", "unable to accept connection, access denied"),
    ],
)
def test_refuses_a_login_in_dsqls_words(
    connect: Connect, faults: FaultClient, kind: str, text: str
) -> None:
    faults.add(kind, region=PRIMARY, times=2)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match=text):
            connect()
    assert connect().execute("SELECT 1").fetchone() == (1,)


def test_latency_of_logins_and_statements(
    connect: Connect, faults: FaultClient
) -> None:
    faults.add("connect-delay", seconds=0.2, times=1)
    started = time.monotonic()
    connection = connect()
    assert time.monotonic() - started >= 0.2
    faults.add("statement-delay", seconds=0.2, client="slow")
    slow = connect(application_name="slow")
    for client, least in ((slow, 0.2), (connection, 0.0)):
        started = time.monotonic()
        assert client.execute("SELECT 1").fetchone() == (1,)
        assert time.monotonic() - started >= least


def test_sessions_end_after_their_time(connect: Connect, faults: FaultClient) -> None:
    before = connect()
    faults.add("session-end", seconds=0.3)
    after = connect()
    for connection in (before, after):
        with pytest.raises(LOST):
            ask_forever(connection)


@pytest.mark.parametrize("bound", [True, False], ids=["extended", "simple"])
def test_the_next_commits_conflict(
    connect: Connect, faults: FaultClient, table: psycopg.Connection[Any], bound: bool
) -> None:
    connection = connect()
    text, params = ("VALUES (%s)", [1]) if bound else ("VALUES (1)", None)
    insert = f"INSERT INTO fault {text}"
    faults.add("conflict", times=2)
    connection.execute("SELECT n FROM fault")  # a read is no change
    with pytest.raises(psycopg.errors.SerializationFailure, match="OC000"):
        connection.execute(insert, params)
    connection.autocommit = False
    connection.execute(insert, params)
    with pytest.raises(psycopg.errors.SerializationFailure, match="OC000"):
        connection.commit()
    assert numbers(table) == []
    connection.execute(insert, params)
    connection.commit()
    assert numbers(table) == [1]


def test_a_rate_repeats_itself_with_its_seed(
    connect: Connect, faults: FaultClient, table: psycopg.Connection[Any]
) -> None:
    def outcomes() -> list[bool]:
        faults.add("conflict", rate=0.5, seed=7)
        seen = []
        for _ in range(20):
            try:
                table.execute("INSERT INTO fault VALUES (1)")
                seen.append(True)
            except psycopg.errors.SerializationFailure:
                seen.append(False)
        faults.clear()
        return seen

    first = outcomes()
    assert set(first) == {True, False}
    assert outcomes() == first


@pytest.mark.parametrize("bound", [True, False], ids=["extended", "simple"])
@pytest.mark.parametrize("explicit", [True, False], ids=["COMMIT", "autocommit"])
@pytest.mark.parametrize(
    ("kind", "expected"), [("cut-before-statement", []), ("cut-after-commit", [1])]
)
def test_a_cut_at_commit_hides_its_outcome(
    connect: Connect,
    faults: FaultClient,
    table: psycopg.Connection[Any],
    kind: str,
    expected: list[int],
    explicit: bool,
    bound: bool,
) -> None:
    connection = connect(application_name="cut")
    text, params = ("VALUES (%s)", [1]) if bound else ("VALUES (1)", None)
    connection.autocommit = not explicit

    def insert() -> None:
        connection.execute(f"INSERT INTO fault {text}", params)

    if explicit:
        insert()
    faults.add(kind, client="cut", times=1)
    with pytest.raises(LOST):
        (connection.commit if explicit else insert)()
    assert connection.closed
    assert numbers(table) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("cut-before-statement", [1]), ("cut-after-statement", [1, 2])],
)
def test_kills_a_client_at_its_second_statement(
    connect: Connect,
    faults: FaultClient,
    table: psycopg.Connection[Any],
    kind: str,
    expected: list[int],
) -> None:
    faults.add(kind, client="second", statement=2)
    connection = connect(application_name="second")
    connection.execute("INSERT INTO fault VALUES (1)")
    with pytest.raises(LOST):
        connection.execute("INSERT INTO fault VALUES (2)")
    assert numbers(table) == expected


@pytest.mark.parametrize("bound", [True, False], ids=["extended", "simple"])
def test_an_unavailable_server_refuses_a_statement_and_keeps_the_connection(
    connect: Connect, faults: FaultClient, table: psycopg.Connection[Any], bound: bool
) -> None:
    connection = connect(application_name="unlucky")
    text, params = ("VALUES (%s)", [1]) if bound else ("VALUES (1)", None)
    faults.add("unavailable-at-statement", client="unlucky", times=2)
    for sql, values in (("SELECT 1", None), (f"INSERT INTO fault {text}", params)):
        with pytest.raises(psycopg.InternalError, match="server unavailable") as caught:
            connection.execute(sql, values)
        assert caught.value.sqlstate == "XX000"
    assert numbers(table) == []
    connection.execute(f"INSERT INTO fault {text}", params)
    assert numbers(table) == [1]


def test_an_unavailable_server_aborts_the_transaction_it_struck(
    connect: Connect, faults: FaultClient, table: psycopg.Connection[Any]
) -> None:
    connection = connect(application_name="unlucky")
    connection.autocommit = False
    connection.execute("INSERT INTO fault VALUES (1)")
    faults.add("unavailable-at-statement", client="unlucky", times=1)
    with pytest.raises(psycopg.InternalError):
        connection.execute("INSERT INTO fault VALUES (2)")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.rollback()
    assert numbers(table) == []


@pytest.mark.parametrize("bound", [True, False], ids=["extended", "simple"])
@pytest.mark.parametrize("explicit", [True, False], ids=["COMMIT", "autocommit"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("unavailable-at-commit", []), ("unavailable-after-commit", [1])],
)
def test_an_unavailable_server_at_commit_hides_its_outcome(
    connect: Connect,
    faults: FaultClient,
    table: psycopg.Connection[Any],
    kind: str,
    expected: list[int],
    explicit: bool,
    bound: bool,
) -> None:
    connection = connect(application_name="unlucky")
    text, params = ("VALUES (%s)", [1]) if bound else ("VALUES (1)", None)
    connection.autocommit = not explicit

    def insert() -> None:
        connection.execute(f"INSERT INTO fault {text}", params)

    if explicit:
        insert()
    faults.add(kind, client="unlucky", times=1)
    with pytest.raises(psycopg.InternalError, match="server unavailable"):
        (connection.commit if explicit else insert)()
    connection.rollback()
    assert numbers(table) == expected
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_silent_server_answers_neither_logins_nor_statements(
    connect: Connect, faults: FaultClient, table: psycopg.Connection[Any]
) -> None:
    open_one = connect()
    faults.add("silent", region=PRIMARY)
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        connect(connect_timeout=2)
    assert hears_nothing(open_one, "INSERT INTO fault VALUES (1)")
    faults.clear()
    assert numbers(table) == []
    assert connect().execute("SELECT 1").fetchone() == (1,)


def test_a_server_goes_silent_when_a_change_was_committed(
    connect: Connect, faults: FaultClient, table: psycopg.Connection[Any]
) -> None:
    faults.add("silent-after-commit", region=PRIMARY, times=1)
    connection = connect()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert hears_nothing(connection, "INSERT INTO fault VALUES (1)", cut=faults)
    assert numbers(table) == [1]


def hears_nothing(
    connection: psycopg.Connection[Any], sql: str, cut: FaultClient | None = None
) -> bool:
    """Whether the answer does not end in a short while; the connection is closed.

    A cut in the middle of it is not heard of either.
    """
    server = connection.pgconn
    server.send_query(sql.encode())
    server.flush()
    if cut is not None:
        while not cut.list()[0]["struck"]:
            pass  # until it is silent
        cut.add("cut", region=PRIMARY)
    waits = time.monotonic() + 0.3
    while (left := waits - time.monotonic()) > 0:
        if select.select([server.socket], [], [], left)[0]:
            server.consume_input()
        while not server.is_busy():
            if server.get_result() is None:
                return False
    server.finish()
    return True


def test_a_connection_can_end_between_its_login_and_its_first_statement(
    connect: Connect, faults: FaultClient
) -> None:
    faults.add("cut-after-login", region=PRIMARY, times=1)
    with pytest.raises(LOST):
        connect().execute("SELECT 1")
    assert connect().execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "flood"}, "Unknown fault 'flood'; one of down,"),
        ({"kind": "connect-delay"}, "connect-delay needs seconds above 0"),
        ({"kind": "conflict", "rate": 1.5}, "rate is 1.5"),
        ({"kind": "conflict", "times": 0}, "times is 0"),
        ({"kind": "conflict", "statement": 1}, "takes no statement number"),
        ({"kind": "cut-before-statement", "statement": 0}, "the first is 1"),
        ({"kind": "cut", "colour": "red"}, "colour"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(
    faults: FaultClient, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaultError, match=message):
        faults.add(**fields)
    assert faults.list() == []


def test_only_what_is_named_is_cleared() -> None:
    faults = Faults()
    first, second = (faults.add(Fault("conflict")) for _ in range(2))
    assert faults.clear(first.number) == 1
    assert faults.clear(first.number) == 0
    assert [active["number"] for active in faults.as_json()] == [second.number]


def test_the_command_adds_lists_and_clears(
    sandbox: lifecycle.Status, faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SANDBOX", sandbox.root)

    def run(*words: str) -> Any:
        out = StringIO()
        call_command("sandbox", "fault", *words, "--format", "json", stdout=out)
        return json.loads(out.getvalue())

    added = run("add", "conflict", "--region", "secondary", "--times", "3")
    assert added == run("list")
    assert (added[0]["region"], added[0]["times"]) == (SECONDARY, 3)
    with pytest.raises(CommandError, match=r"primary \(us-east-1\), secondary"):
        run("add", "down", "--region", "mars")
    assert run("clear", str(added[0]["number"])) == {"cleared": 1}
    assert run("list") == []


def test_without_a_sandbox_the_remedy_is_named(tmp_path: Any) -> None:
    with pytest.raises(FaultError, match=r"manage\.py sandbox up"):
        FaultClient(tmp_path).list()
