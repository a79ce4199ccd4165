import pytest

from ops.local.sandbox.rules import Kind, find_relations, judge, redirect_to_shadows

REFUSED = [
    ("TRUNCATE t", "0A000", "unsupported statement: Truncate"),
    ("SAVEPOINT a", "0A000", "unsupported transaction statement: SAVEPOINT"),
    ("CREATE INDEX i ON t (a)", "0A000", "unsupported mode. please use CREATE INDEX ASYNC."),
    ("CREATE TEMP TABLE t (a int)", "0A000", "TEMPORARY or TEMP table not supported for CREATE TABLE"),
    ("CREATE TABLE t (a int[])", "0A000", "datatype integer[] not supported"),
    ("CREATE TABLE t (a serial)", "42704", 'type "serial" does not exist'),
    ("CREATE TABLE t (a varbit(8))", "0A000", "datatype bit varying not supported"),
    ("ALTER TABLE t ADD COLUMN a int DEFAULT 7", "0A000", "ALTER TABLE ADD COLUMN with constraint not supported"),
    ("ALTER TABLE t ALTER a TYPE text", "0A000", "unsupported ALTER TABLE ALTER COLUMN ... SET DATA TYPE statement"),
    ("ALTER TABLE t VALIDATE CONSTRAINT c", "0A000", "unsupported ALTER TABLE VALIDATE CONSTRAINT statement"),
    ("SELECT 1 FROM t FOR SHARE", "0A000", "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported"),
    ("SELECT a FROM t TABLESAMPLE SYSTEM (1)", "0A000", "TABLESAMPLE clause not supported"),
    ("SET statement_timeout = 1", "0A000", 'setting configuration parameter "statement_timeout" not supported'),
    ("SET TRANSACTION READ ONLY", "0A000", 'setting configuration parameter "TRANSACTION" not supported'),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE", "0A000", "Unsupported isolation level: SERIALIZABLE"),
    ("VACUUM t", "0A000", "unsupported VACUUM statement"),
    ("SELECT pg_backend_pid()", "0A000", "function pg_backend_pid not supported"),
    ("CREATE INDEX ASYNC i ON t (a DESC)", "0A000", "specifying sort order not supported for index keys"),
    (
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (CACHE 1))",
        "0A000",
        "datatype integer not supported, identity column type must be bigint",
    ),
    (
        "CREATE SEQUENCE s CACHE 7",
        "0A000",
        "CREATE SEQUENCE is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 or equal to 1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "sqlstate", "message"), REFUSED)
def test_refuses_with_the_clusters_words(sql: str, sqlstate: str, message: str) -> None:
    (statement,) = judge(sql)
    assert statement.refusal is not None
    assert (statement.refusal.sqlstate, statement.refusal.message) == (
        sqlstate,
        message,
    )


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", Kind.READ),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", Kind.WRITE),
        ("SELECT a FROM t FOR UPDATE", Kind.LOCK),
        ("INSERT INTO t VALUES (1)", Kind.WRITE),
        ("EXPLAIN DELETE FROM t", Kind.READ),
        ("EXPLAIN ANALYZE DELETE FROM t", Kind.WRITE),
        ("CREATE TABLE t (a text)", Kind.DDL),
        ("SET TIME ZONE 'UTC'", Kind.SETTING),
        ("START TRANSACTION", Kind.BEGIN),
        ("this is not SQL", Kind.READ),
    ],
)
def test_says_what_a_statement_does(sql: str, kind: Kind) -> None:
    (statement,) = judge(sql)
    assert statement.refusal is None
    assert (statement.kind, statement.sql) == (kind, sql)


def test_takes_async_out_of_an_index_and_reports_the_job() -> None:
    (statement,) = judge("CREATE UNIQUE INDEX /* now */ async i ON t (a)")
    assert statement.refusal is None
    assert statement.submits.startswith("sandbox.submit_index('\"t\"'::regclass, True")
    assert " ".join(statement.sql.split()) == "CREATE INDEX /* now */ i ON t (a)"


def test_a_table_named_async_survives() -> None:
    (statement,) = judge("ALTER TABLE async ADD COLUMN a text")
    assert statement.submits == ""
    assert statement.sql == "ALTER TABLE async ADD COLUMN a text"


def test_translates_aws_iam_grants() -> None:
    (statement,) = judge("AWS IAM GRANT app TO 'arn:aws:iam::1:role/x';")
    assert statement.sql == "SELECT sys.iam_grant('app', 'arn:aws:iam::1:role/x')"
    assert (statement.kind, statement.tag) == (Kind.DDL, "AWS IAM GRANT")


@pytest.mark.parametrize("value", ["1; TRUNCATE t", "''; --", "FOR SHARE", "$$"])
def test_a_literal_never_changes_the_verdict(value: str) -> None:
    quoted = value.replace("'", "''")
    (statement,) = judge(f"SELECT '{quoted}', \"it's\" FROM t")
    assert (statement.kind, statement.refusal) == (Kind.READ, None)


def test_judges_every_statement_of_a_query_string() -> None:
    kinds = [s.kind for s in judge("BEGIN; INSERT INTO t VALUES (';'); COMMIT;")]
    assert kinds == [Kind.BEGIN, Kind.WRITE, Kind.COMMIT]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE UNIQUE INDEX ASYNC i ON t (a) INCLUDE (b) NULLS NOT DISTINCT WHERE a > 0",
        "create unique index async i on t (a) nulls distinct",
    ],
)
def test_an_index_becomes_unique_by_its_job_only(sql: str) -> None:
    (statement,) = judge(sql)
    words = statement.sql.upper().split()
    assert not {"ASYNC", "UNIQUE", "DISTINCT", "NULLS"} & set(words)
    assert "'\"t\"'::regclass, True" in statement.submits


def test_async_alters_nothing_but_a_constraint() -> None:
    (statement,) = judge("ALTER TABLE ASYNC t ADD COLUMN a int")
    assert statement.refusal is not None
    assert statement.refusal.sqlstate == "42601"


@pytest.mark.parametrize(
    ("sql", "locks"),
    [
        ("SELECT 1 FROM t WHERE id = 5 FOR UPDATE", "FOR UPDATE"),
        (
            "SELECT 1 FROM t JOIN u USING (id) FOR KEY SHARE OF t FOR UPDATE OF u",
            "FOR UPDATE",
        ),
        ("SELECT 1 FROM t FOR KEY SHARE", "FOR KEY SHARE"),
        ("SELECT 'FOR UPDATE' FROM t", ""),
    ],
)
def test_knows_the_strongest_lock(sql: str, locks: str) -> None:
    (statement,) = judge(sql)
    assert statement.locks == locks


def test_names_the_relations_of_a_statement() -> None:
    sql = 'WITH c AS (SELECT 1) UPDATE s."T" SET a = 1 FROM u, c WHERE EXISTS (TABLE v)'
    assert find_relations(sql) == {'"s"."T"', '"u"', '"c"', '"v"'}


def test_leads_qualified_names_to_the_shadows() -> None:
    sql = "SELECT 'ä', a FROM public.t AS x, \"public\" . u, other.t, t"
    assert redirect_to_shadows(sql, {'"public"."t"', '"public"."u"'}) == (
        "SELECT 'ä', a FROM pg_temp.t AS x, pg_temp . u, other.t, t"
    )
