"""Shapes of statements, and what they are made of."""

import pytest
from postgast import parse

from ops.local.sandbox.collector import MAX_SHAPES, Collector
from ops.local.sandbox.fault_control import FaultClient
from ops.local.sandbox.lifecycle import Status
from ops.local.sandbox.rules.shapes import parts, shape, shapes
from tests.golden.replay import connect


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (
            ("SELECT \"a\".\"b\" FROM \"a\" WHERE \"a\".\"b\" = 'x'",
             "SELECT \"c\".\"d\" FROM \"c\"  WHERE \"c\".\"d\" = E'it\\'s'",
             "SELECT \"e\".\"f\" -- why\n FROM \"e\" WHERE \"e\".\"f\" = $$any$$"),
            "SELECT \"n\".\"n\" FROM \"n\" WHERE \"n\".\"n\" = '?'",
        ),
        (
            ("SELECT 1 FROM t LIMIT 5", "SELECT 22.5 FROM t LIMIT 100"),
            "SELECT 0 FROM t LIMIT 0",
        ),
        (
            ("SELECT a FROM t WHERE b = -1", "SELECT a FROM t WHERE b =  7"),
            "SELECT a FROM t WHERE b = 0",
        ),
        (
            ("INSERT INTO \"t\" (\"a\", \"b\", \"c\") VALUES ('1', '2', '3'), ('4','5','6')",
             "INSERT INTO \"t\" (\"a\", \"b\") VALUES ('1', '2')"),
            "INSERT INTO \"n\" (\"n\", \"n\") VALUES ('?', '?')",
        ),
        (
            ('UPDATE "t" SET "a" = 1, "b" = 2, "c" = \'x\' WHERE "d" IN (1, 2, 3)',
             'UPDATE "t" SET "a" = 1, "c" = \'x\' WHERE "d" IN (1, 2)'),
            'UPDATE "n" SET "n" = 0, "n" = \'?\' WHERE "n" IN (0, 0)',
        ),
        (
            ("SELECT int8(a1) FROM t2 WHERE x = $1 AND y = $2",
             "SELECT int8(a1) FROM t2 WHERE x = $7 AND y = $9"),
            "SELECT int8(a1) FROM t2 WHERE x = $1 AND y = $1",
        ),
        (
            ("AWS IAM GRANT \"app\" TO 'arn:aws:iam::1:role/a'",
             "AWS IAM GRANT \"app\" TO 'arn:aws:iam::1:role/b'"),
            "AWS IAM GRANT \"n\" TO '?'",
        ),
    ],
)  # fmt: skip
def test_statements_that_ask_the_same_have_one_shape(
    statements: tuple[str, ...], expected: str
) -> None:
    assert {shape(sql) for sql in statements} == {expected}


@pytest.mark.parametrize(
    "sql",
    [
        'CREATE TABLE "t" ("a" varchar(10) NOT NULL, "b" numeric(5, 2), "c" varchar(10))',
        "SELECT ('a', 'b') < ('c', 'd'), ARRAY[1, 2], lower('x') FROM a, b, a AS c",
        "COMMENT ON COLUMN \"t\".\"a\" IS 'it''s'",
        'SELECT DISTINCT "a", count(*) FROM "t" GROUP BY "a" HAVING count(*) > 1',
        "INSERT INTO t VALUES (1, NULL), (2, '') ON CONFLICT (a) DO UPDATE SET b = 1",
    ],
)
def test_a_shape_is_sql_of_the_same_parts(sql: str) -> None:
    assert parse(shape(sql)).stmts
    assert parts(shape(sql)) == parts(sql)


def test_a_query_string_has_a_shape_for_each_of_its_statements() -> None:
    assert list(shapes("SELECT 1; DELETE FROM t;;")) == ["SELECT 0", "DELETE FROM t"]


@pytest.mark.parametrize(
    ("sql", "needs"),
    [
        ("SELECT to_regclass('t')", {"function to_regclass"}),
        ("SELECT 't'::regclass", {"cast to regclass"}),
        ("SELECT '{1}'::int[]", {"cast to int4[]"}),
        ("SELECT relname FROM pg_catalog.pg_class", {"catalog pg_class"}),
        ("SELECT 1 FROM sys.jobs", {"catalog sys.jobs"}),
        ("SELECT 1 FROM information_schema.tables", {"catalog information_schema.tables"}),
        ("CREATE UNIQUE INDEX ASYNC i ON t (a)", {"ASYNC", "IndexStmt.unique"}),
        ("ALTER TABLE ASYNC t VALIDATE CONSTRAINT c", {"ASYNC"}),
        ("CREATE TABLE t (a jsonb, b inet[])", {"column type jsonb", "column type inet[]"}),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i", {"Constraint.indexname"}),
        ("SET TIME ZONE 'UTC'", {"setting timezone"}),
        ("GRANT SELECT ON t TO a", {"privilege SELECT"}),
        ("AWS IAM REVOKE app FROM 'arn'", {"AWS IAM REVOKE"}),
        ("SELECT 1 WHERE 'a' ~ 'b'", {"operator ~"}),
        ("SELECT a FROM t FOR UPDATE SKIP LOCKED", {"LockingClause LockWaitSkip"}),
    ],
)  # fmt: skip
def test_what_a_statement_needs_is_named(sql: str, needs: set[str]) -> None:
    assert needs <= parts(sql)


def test_a_collector_that_was_not_started_keeps_nothing() -> None:
    collector = Collector()
    collector.add("SELECT 1")
    assert collector.found() == []
    collector.start()
    collector.add("SELECT 2; SELECT 3")
    assert collector.found() == ["SELECT 0"]
    collector.start()
    assert collector.found() == []


def test_a_collector_has_a_bound() -> None:
    collector = Collector()
    collector.start()
    for number in range(MAX_SHAPES + 10):
        collector.add(f"SELECT a{number} FROM t")
    assert len(collector.found()) == MAX_SHAPES


def test_the_running_sandbox_tells_what_its_clients_sent(sandbox: Status) -> None:
    switch = FaultClient(sandbox.root)
    with connect(sandbox) as connection:
        switch.collect()
        connection.pgconn.exec_(b"SELECT 'a' AS collected")
        connection.pgconn.exec_params(b"SELECT $1::text AS extended", [b"b"])
        found = switch.shapes()
    assert found == ("SELECT $1::text AS extended", "SELECT '?' AS collected")
