"""What only the catalog, or a call, can tell: on a running sandbox."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ops.local.sandbox import lifecycle
from ops.local.sandbox.rules.settings import SETTINGS
from tests.golden.replay import connect

Connection = psycopg.Connection[Any]


@pytest.fixture
def session(sandbox: lifecycle.Status) -> Iterator[Connection]:
    with connect(sandbox) as connection:
        yield connection


@pytest.fixture
def name(sandbox: lifecycle.Status) -> Iterator[str]:
    """Of objects that a test may make; they are dropped."""
    made = f"k{uuid.uuid4().hex[:8]}"
    yield made
    with connect(sandbox) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {made}")
        connection.execute(f"DROP DOMAIN IF EXISTS {made}_d")


def one(connection: Connection, sql: str, *params: Any) -> Any:
    return connection.execute(sql, params).fetchone()


def refusal(connection: Connection, sql: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(sql)
    return f"{caught.value.sqlstate} {caught.value.diag.message_primary}"


def test_numeric_is_stored_with_six_digits(session: Connection, name: str) -> None:
    session.execute(f"CREATE TABLE {name} (a numeric, b numeric(20,10))")
    session.execute(f"INSERT INTO {name} VALUES (0.00012345, 0.00012345)")
    assert [str(v) for v in one(session, f"SELECT * FROM {name}")] == [
        "0.000123", "0.0001234500",
    ]  # fmt: skip
    query = (
        "SELECT numeric_precision, numeric_scale FROM information_schema.columns "
        "WHERE table_name = %s AND column_name = 'a'"
    )
    assert one(session, query, name) == (18, 6)


@pytest.mark.parametrize("kind", ["bytea", "jsonb", "json"])
def test_what_cannot_be_a_key_cannot_through_a_domain_or_an_index(
    session: Connection, name: str, kind: str
) -> None:
    text = f"0A000 datatype {kind} is not supported in a key"
    session.execute(f"CREATE DOMAIN {name}_d AS {kind}")
    if kind != "json":  # which PostgreSQL itself knows no order for
        sql = f"CREATE TABLE {name} (a int, b {name}_d, PRIMARY KEY (a, b))"
        assert refusal(session, sql) == text
    session.execute(f"CREATE TABLE {name} (a {kind}, b {name}_d)")
    for column in ("a", "b"):
        sql = f"CREATE INDEX ASYNC ON {name} ({column})"
        assert refusal(session, sql) == text
    if kind == "bytea":
        sql = f"CREATE INDEX ASYNC ON {name} (substr(a, 1, 5))"
        assert refusal(session, sql) == text


def test_declared_sizes_of_indexed_columns_add_up(
    session: Connection, name: str
) -> None:
    session.execute(f"CREATE TABLE {name} (a varchar(1500), b char(600), c text)")
    for sql in (
        f"CREATE INDEX ASYNC ON {name} (a, c)",
        f"CREATE INDEX ASYNC ON {name} (b)",
    ):
        session.execute(sql)
    sql = f"CREATE INDEX ASYNC ON {name} (a, b)"
    assert (
        refusal(session, sql) == "54000 key size greater than 2000 bytes not supported"
    )


def test_a_type_that_only_the_catalog_knows_is_refused(
    session: Connection, name: str
) -> None:
    session.execute(f"CREATE TABLE {name} (a int)")
    sql = f"CREATE TABLE {name}_x (a {name})"
    assert refusal(session, sql) == f"0A000 datatype {name} not supported"
    sql = f"ALTER TABLE {name} ADD COLUMN b pg_catalog.pg_class"
    assert refusal(session, sql) == "0A000 datatype pg_class not supported"
    assert refusal(session, f"CREATE DOMAIN {name}_d AS {name}")[:5] in (
        "0A000",
        "42809",
    )


def test_the_primary_key_is_neither_dropped_nor_added(
    session: Connection, name: str
) -> None:
    session.execute(f"CREATE TABLE {name} (a int PRIMARY KEY, b int UNIQUE)")
    assert refusal(session, f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey") == (
        "0A000 unsupported ALTER TABLE DROP CONSTRAINT statement"
    )
    sql = f"ALTER TABLE {name} ADD COLUMN c int, DROP COLUMN a"
    assert refusal(session, sql) == "0A000 cannot drop primary key column a"
    session.execute(f"ALTER TABLE {name} DROP CONSTRAINT {name}_b_key")


@pytest.mark.parametrize("kind", ["UNIQUE", "PRIMARY KEY"])
def test_a_key_cannot_be_not_valid(session: Connection, name: str, kind: str) -> None:
    session.execute(f"CREATE TABLE {name} (a int)")
    sql = f"ALTER TABLE {name} ADD CONSTRAINT c {kind} (a) NOT VALID"
    text = f"0A000 {kind} constraints cannot be marked NOT VALID"
    assert refusal(session, sql) == text
    assert refusal(session, f"SELECT 1; {sql}") == text


def test_only_a_bigint_becomes_an_identity(session: Connection, name: str) -> None:
    session.execute(f"CREATE TABLE {name} (a int NOT NULL, b bigint NOT NULL)")
    change = "ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)"
    assert refusal(session, f"ALTER TABLE {name} ALTER a {change}") == (
        "0A000 datatype integer not supported, identity column type must be bigint"
    )
    session.execute(f"ALTER TABLE {name} ALTER b {change}")


@pytest.mark.parametrize("rows", ["made", "sent"])
def test_a_value_of_more_than_one_mebibyte_is_refused_at_its_statement(
    session: Connection, name: str, rows: str
) -> None:
    session.execute(f"CREATE TABLE {name} (a int, b text)")
    session.execute("BEGIN")
    noise = "(SELECT string_agg(md5(random()::text || g), '') FROM generate_series(1, 40000) g)"
    large = "".join(str(uuid.uuid4()) for _ in range(40_000))
    value, values = (noise, []) if rows == "made" else ("%s", [large])
    with pytest.raises(errors.ProgramLimitExceeded) as caught:
        session.execute(f"INSERT INTO {name} VALUES (1, {value})", values)
    expected = "datatype limit greater than 1048576 bytes not supported for text"
    assert caught.value.diag.message_primary == expected
    session.execute("ROLLBACK")


def test_a_failed_commit_of_a_query_shows_no_tag_before_its_error(
    session: Connection, name: str
) -> None:
    session.execute(f"CREATE TABLE {name} (a int PRIMARY KEY, p int REFERENCES {name} "
                    "DEFERRABLE INITIALLY DEFERRED)")  # fmt: skip
    session.pgconn.send_query(f"INSERT INTO {name} VALUES (1, 9)".encode())
    results = []
    while (result := session.pgconn.get_result()) is not None:
        results.append(result)
    assert [r.status for r in results] == [psycopg.pq.ExecStatus.FATAL_ERROR]


# Settings


@pytest.mark.parametrize("setting", ["app.tenant", "work_mem", "role"])
def test_set_config_obeys_the_list_of_set(session: Connection, setting: str) -> None:
    query = "SELECT set_config(%s, %s, false)"
    with pytest.raises(errors.FeatureNotSupported) as caught:
        session.execute(query, [setting, "1"])
    text = f'setting configuration parameter "{setting}" not supported'
    assert caught.value.diag.message_primary == text
    assert one(session, query, "timezone", "Asia/Tokyo") == ("Asia/Tokyo",)
    assert one(session, "SHOW timezone") == ("Asia/Tokyo",)
    assert one(session, "SELECT set_config('search_path', 'x', true)") == ("x",)


def test_both_lists_of_settings_are_one(superuser: Connection) -> None:
    (names,) = one(superuser, "SELECT prosrc FROM pg_proc WHERE proname = 'settable'")
    assert set(names.split("'")[1::2]) == SETTINGS


def test_a_login_is_refused_for_a_setting(sandbox: lifecycle.Status) -> None:
    region = sandbox.regions[0]
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(
            host=region.endpoint,
            user="admin",
            password="none",
            dbname="postgres",
            options="-c default_transaction_read_only=on",
        )
    text = (
        'setting configuration parameter "default_transaction_read_only" not supported'
    )
    assert text in str(caught.value)


def test_max_connections_is_20(session: Connection) -> None:
    assert one(session, "SHOW max_connections") == ("20",)
    assert one(session, "SELECT current_setting('max_connections', true)") == ("20",)


# The cluster's own functions


def test_job_ids_and_uuids_are_two_ways_to_write_one(session: Connection) -> None:
    made = uuid.uuid4()
    (text,) = one(session, "SELECT sys.uuid_to_base32_str(%s)", made)
    assert len(text) == 26
    assert one(session, "SELECT sys.base32_str_to_uuid(%s)", text) == (made,)
    with pytest.raises(psycopg.DataError, match="Unable to convert text to UUID"):
        session.execute("SELECT sys.base32_str_to_uuid('no')")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("cluster_size()", int),
        ("cluster_size_limit()", int),
        ("current_session_id()", str),
        ("current_transaction_id()", str),
        ("iam_session_user()", str),
    ],
)
def test_sys_functions_exist(session: Connection, call: str, kind: type) -> None:
    assert isinstance(one(session, f"SELECT sys.{call}")[0], kind)


def test_the_major_version_is_1_and_datatypes_are_listed(session: Connection) -> None:
    assert one(session, "SELECT sys.dsql_major_version()") == (1,)
    types = {row[0] for row in session.execute("SELECT sys.supported_datatypes()")}
    assert {"bigint", "jsonb", "uuid", "timestamp with time zone"} <= types
    assert len(types) == 20


@pytest.mark.parametrize("text_only", [True, False])
def test_explain_analyze_verbose_ends_with_an_estimate(
    session: Connection, name: str, text_only: bool
) -> None:
    session.execute(f"CREATE TABLE {name} (a int PRIMARY KEY, b text)")
    cursor: psycopg.Cursor[Any] = (
        psycopg.ClientCursor(session) if text_only else session.cursor()
    )

    def lines(sql: str) -> list[str]:
        return [row[0] for row in cursor.execute(f"EXPLAIN ANALYZE VERBOSE {sql}")]

    read = lines(f"SELECT * FROM {name} WHERE a = 1")
    assert read[0].startswith(("Index Scan", "Seq Scan", "Bitmap"))
    assert read[-5] == "Statement DPU Estimate:"
    assert [line.split(":")[0].strip() for line in read[-4:]] == [
        "Compute", "Read", "Write", "Total",
    ]  # fmt: skip
    assert read[-3:-1] == ["  Read: 0.00375 DPU", "  Write: 0.00000 DPU"]
    write = lines(f"INSERT INTO {name} SELECT g, 'x' FROM generate_series(1, 100) g")
    assert "  Write: 0.62502 DPU" in write
    assert "  MultiRegionWrite: 0.62502 DPU" in write
    assert one(session, f"SELECT count(*) FROM {name}") == (100,)
