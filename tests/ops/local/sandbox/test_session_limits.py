"""What a transaction may hold: kinds of statements, rows and seconds."""

import pytest

from ops.local.sandbox.transactions import MAX_AGE
from tests.ops.local.sandbox.session_texts import (
    ABORTED,
    DDL_AND_DML,
    INDEX,
    INSERT,
    MANY,
    TABLE,
    TOO_MANY,
)
from tests.ops.local.sandbox.upstream import (
    Client,
)

TWO_DDL = "E 0A000 multiple ddl statements not supported in a transaction"


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def many(client: Client) -> Client:
    client.upstream.tags[MANY] = "INSERT 0 3000"
    return client


# One DDL, never with DML


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (TABLE, "DROP TABLE b", TWO_DDL),
        (TABLE, INDEX, TWO_DDL),
        (TABLE, "AWS IAM GRANT app TO 'arn:aws:iam::123456789012:role/x'", TWO_DDL),
        (TABLE, INSERT, DDL_AND_DML),
        (INSERT, TABLE, DDL_AND_DML),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", TABLE, DDL_AND_DML),
    ],
)
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_ddl_stands_alone_in_its_transaction(
    client: Client, first: str, second: str, error: str, protocol: str
) -> None:
    say = client.query if protocol == "simple" else client.execute
    say("BEGIN")
    assert say(first)[-1] == "Z T"
    assert say("SELECT 1")[-2:] == ["C SELECT 1", "Z T"]
    assert say(second)[-2:] == [error, "Z E"]
    assert say("ROLLBACK")[-2:] == ["C ROLLBACK", "Z I"]
    assert say(second)[-1] == "Z I"


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        (f"{TABLE}; DROP TABLE b", TWO_DDL),
        (f"{TABLE}; {INSERT}", DDL_AND_DML),
        (f"{INSERT}; {TABLE}", DDL_AND_DML),
    ],
)
def test_the_rule_holds_in_an_implicit_transaction(
    client: Client, sql: str, error: str
) -> None:
    assert client.query(sql)[-2:] == [error, "Z I"]
    assert client.execute(*sql.split("; "))[-2:] == [error, "Z I"]
    assert "COMMIT" not in client.upstream.log


def test_each_autocommit_statement_is_its_own_transaction(client: Client) -> None:
    for sql in (TABLE, INSERT, "DROP TABLE a", INSERT):
        assert client.query(sql)[-1] == "Z I"
        assert client.execute(sql)[-1] == "Z I"
        assert not [a for a in client.execute(sql) if a[0] == "E"]


def test_a_question_to_the_catalog_may_refuse_a_statement(client: Client) -> None:
    sql = "ALTER TABLE t DROP COLUMN id"
    assert client.query(sql) == ["C ALTER TABLE", "Z I"]
    guard = next(asked for asked in client.upstream.log if asked.startswith("SELECT"))
    client.upstream.rows[guard] = "0A000 cannot drop primary key column id"
    refused = "E 0A000 cannot drop primary key column id"
    assert client.query(sql) == [refused, "Z I"]
    assert client.execute(sql)[-2:] == [refused, "Z I"]


# 3,000 rows


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_three_thousand_rows_and_not_one_more(many: Client, protocol: str) -> None:
    say = many.query if protocol == "simple" else many.execute
    say("BEGIN")
    assert say(MANY)[-2:] == ["C INSERT 0 3000", "Z T"]
    assert say(INSERT)[-2:] == [TOO_MANY, "Z E"]
    assert say("COMMIT")[-2:] == ["C ROLLBACK", "Z I"]
    log = many.upstream.log
    assert log.index("ROLLBACK") < log.index("COMMIT")


@pytest.mark.parametrize("verb", ["INSERT 0 {}", "UPDATE {}", "DELETE {}"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_the_limit_holds_for_one_statement(
    client: Client, verb: str, protocol: str
) -> None:
    say = client.query if protocol == "simple" else client.execute
    sql = "DELETE FROM t"
    client.upstream.tags[sql] = verb.format(3000)
    assert say(sql)[-2:] == [f"C {verb.format(3000)}", "Z I"]
    client.upstream.tags[sql] = verb.format(3001)
    assert say(sql)[-2:] == [TOO_MANY, "Z I"]
    assert client.upstream.log[-1] == "ROLLBACK"


def test_rows_read_are_not_counted_and_rows_end_with_the_transaction(
    many: Client,
) -> None:
    many.upstream.tags["SELECT 1"] = "SELECT 3001"
    many.query("BEGIN")
    assert many.query("SELECT 1") == ["T", "C SELECT 3001", "Z T"]
    for _ in range(2):
        assert many.query(MANY) == ["C INSERT 0 3000", "Z T"]
        assert many.query("COMMIT") == ["C COMMIT", "Z I"]
        many.query("BEGIN")


def test_rows_of_a_pipeline_add_up_until_sync(many: Client) -> None:
    assert many.execute(MANY, INSERT)[-3:] == ["2", TOO_MANY, "Z I"]
    assert many.execute(MANY)[-2:] == ["C INSERT 0 3000", "Z I"]
    assert many.execute(INSERT)[-2:] == ["C INSERT 0 1", "Z I"]
    assert many.query(f"{MANY}; {INSERT}") == ["C INSERT 0 3000", TOO_MANY, "Z I"]


# 300 seconds


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("sql", ["SELECT 1", INSERT, TABLE])
def test_a_transaction_lasts_300_seconds(
    client: Client, protocol: str, sql: str
) -> None:
    say = client.query if protocol == "simple" else client.execute
    client.now = 1000.0
    say("BEGIN")
    client.now += MAX_AGE
    assert say("SELECT 1")[-1] == "Z T"
    client.now += 1
    too_old = f"E 54000 transaction age limit of {MAX_AGE}s exceeded"
    assert say(sql)[-2:] == [too_old, "Z E"]
    assert say("SELECT 1") == [ABORTED, "Z E"]
    assert say("COMMIT")[-2:] == ["C ROLLBACK", "Z I"]
    say("BEGIN")
    assert say(sql)[-1] == "Z T"


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_transaction_that_is_too_old_does_not_commit(
    client: Client, protocol: str
) -> None:
    say = client.query if protocol == "simple" else client.execute
    say("BEGIN")
    say(INSERT)
    client.now += MAX_AGE + 1
    too_old = f"E 54000 transaction age limit of {MAX_AGE}s exceeded"
    assert say("COMMIT")[-2:] == [too_old, "Z I"]
    assert client.upstream.log[-1] == "ROLLBACK"
    say("BEGIN")
    client.now += MAX_AGE + 1
    assert say("ROLLBACK")[-2:] == ["C ROLLBACK", "Z I"]


def test_a_connection_may_be_older_than_a_transaction(client: Client) -> None:
    for _ in range(3):
        client.now += MAX_AGE + 1
        assert client.query(INSERT) == ["C INSERT 0 1", "Z I"]
        assert client.execute(INSERT)[-1] == "Z I"
