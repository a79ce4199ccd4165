"""The extended protocol: pipelines, and prepared statements with their names."""

import pytest

from ops.local.sandbox import messages
from tests.ops.local.sandbox.session_texts import (
    ABORTED,
    DDL_AND_DML,
    INSERT,
    MANY,
    TABLE,
    TOO_MANY,
)
from tests.ops.local.sandbox.upstream import (
    CLOSE,
    FLUSH,
    SYNC,
    Client,
    bind,
    describe,
    extended,
    parse,
    run,
)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def many(client: Client) -> Client:
    client.upstream.tags[MANY] = "INSERT 0 3000"
    return client


# Extended protocol


def test_reads_of_a_pipeline_go_through_as_they_came(client: Client) -> None:
    assert client.execute("SELECT 1", "SELECT 2") == [
        "1", "2", "C SELECT 1", "1", "2", "C SELECT 1", "Z I",
    ]  # fmt: skip


def test_a_pipeline_is_one_transaction_up_to_sync(client: Client) -> None:
    answer = client.execute(INSERT, "SELECT 1", "UPDATE t SET a = 1")
    assert answer == [
        "1", "2", "C INSERT 0 1", "1", "2", "C SELECT 1", "1", "2", "C UPDATE 1", "Z I",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "before", "error"),
    [
        ("SELECT wrong", ["1", "2"], "E 42703 refused SELECT wrong"),
        ("TRUNCATE t", [], "E 0A000 unsupported statement: Truncate"),
    ],
)
def test_an_error_skips_to_sync(
    client: Client, wrong: str, before: list[str], error: str
) -> None:
    client.upstream.errors["SELECT wrong"] = "42703"
    answer = client.execute(INSERT, wrong, INSERT, "SELECT 1")
    assert answer == ["1", "2", "C INSERT 0 1", *before, error, "Z I"]
    assert client.upstream.log.count(INSERT) == 1
    assert client.execute("SELECT 1") == ["1", "2", "C SELECT 1", "Z I"]


def test_after_flush_too_an_error_skips_to_sync(client: Client) -> None:
    error = "E 0A000 unsupported statement: Truncate"
    assert client.send(parse("TRUNCATE t"), FLUSH) == [error]
    assert client.send(extended(INSERT), FLUSH) == []
    assert client.send(extended("SELECT 1"), SYNC) == ["Z I"]
    assert client.execute(INSERT)[-1] == "Z I"
    assert client.upstream.log.count(INSERT) == 1


def test_flush_brings_the_answers_and_leaves_the_batch_open(client: Client) -> None:
    assert client.send(parse(INSERT), FLUSH) == ["1"]
    assert client.send(bind(), describe(), FLUSH) == ["2", "n"]
    assert client.send(run(), FLUSH) == ["C INSERT 0 1"]
    assert client.send(FLUSH) == []
    assert client.send(SYNC) == ["Z I"]


def test_sync_alone_is_answered(client: Client) -> None:
    assert client.send(SYNC) == ["Z I"]
    client.query("BEGIN")
    assert client.send(SYNC) == ["Z T"]


def test_a_flushed_write_counts_until_sync(many: Client) -> None:
    assert many.send(extended(MANY), FLUSH) == ["1", "2", "C INSERT 0 3000"]
    assert many.send(extended(INSERT), FLUSH) == ["1", "2", TOO_MANY]
    assert many.send(SYNC) == ["Z I"]


def test_sync_ends_a_flushed_write_whatever_it_comes_with(many: Client) -> None:
    many.send(extended(MANY), FLUSH)
    assert many.send(extended("SELECT 1"), SYNC)[-1] == "Z I"
    assert many.execute(INSERT)[-2:] == ["C INSERT 0 1", "Z I"]
    assert many.execute(TABLE)[-2:] == ["C CREATE TABLE", "Z I"]


def test_a_prepared_statement_is_judged_each_time_it_runs(client: Client) -> None:
    prepared = [parse(INSERT, "i"), describe("S", "i"), parse(TABLE, "c"), SYNC]
    assert client.send(*prepared) == ["1", "n", "1", "Z I"]
    client.query("BEGIN")
    assert client.send(bind("i", "p"), run("p"), SYNC) == ["2", "C INSERT 0 1", "Z T"]
    assert client.send(bind("c"), run(), SYNC)[-2:] == [DDL_AND_DML, "Z E"]
    client.query("ROLLBACK")
    assert client.send(bind("c"), run(), SYNC) == ["2", "C CREATE TABLE", "Z I"]


def test_close_is_acknowledged(client: Client) -> None:
    assert client.send(CLOSE, SYNC) == ["3", "Z I"]
    assert client.send(extended(INSERT), CLOSE, SYNC)[-2:] == ["3", "Z I"]


def test_begin_and_commit_in_one_pipeline(client: Client) -> None:
    answer = client.execute("BEGIN", INSERT, "COMMIT", TABLE)
    tags = [line for line in answer if line not in {"1", "2"}]
    assert tags == ["C BEGIN", "C INSERT 0 1", "C COMMIT", "C CREATE TABLE", "Z I"]


def test_both_protocols_share_one_transaction(client: Client) -> None:
    client.execute("BEGIN")
    assert client.query(INSERT) == ["C INSERT 0 1", "Z T"]
    assert client.execute(TABLE)[-2:] == [DDL_AND_DML, "Z E"]
    assert client.query("SELECT 1") == [ABORTED, "Z E"]


# Names


def runs(client: Client, name: str) -> list[str]:
    return client.send(bind(name), run(), SYNC)


UNKNOWN = ['E 26000 prepared statement "i" does not exist', "Z I"]


def test_what_was_closed_runs_no_more(client: Client) -> None:
    client.send(parse(INSERT, "i"), SYNC)
    assert client.send(messages.message(b"C", b"Si\0"), SYNC) == ["3", "Z I"]
    assert runs(client, "i") == UNKNOWN


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_what_was_deallocated_runs_no_more(client: Client, protocol: str) -> None:
    say = client.query if protocol == "simple" else client.execute
    client.send(parse(INSERT, "i"), SYNC)
    say("DEALLOCATE ALL")
    client.upstream.deallocate()
    assert runs(client, "i") == UNKNOWN


def test_what_was_refused_never_runs(client: Client) -> None:
    client.upstream.errors[INSERT] = "42601"
    client.send(parse(INSERT, "i"), SYNC)
    del client.upstream.errors[INSERT]
    assert runs(client, "i") == UNKNOWN
    client.send(parse("TRUNCATE t", "i"), SYNC)
    assert runs(client, "i") == UNKNOWN
    assert client.upstream.log.count(INSERT) == 1  # the Parse


def test_a_taken_name_keeps_its_statement(client: Client) -> None:
    client.send(parse(INSERT, "i"), SYNC)
    taken = 'E 42P05 prepared statement "i" already exists'
    assert client.send(parse("DELETE FROM t", "i"), SYNC) == [taken, "Z I"]
    assert runs(client, "i") == ["2", "C INSERT 0 1", "Z I"]


def test_a_query_ends_the_unnamed_statement(client: Client) -> None:
    client.send(parse(INSERT), SYNC)
    client.query("SELECT 1")
    assert runs(client, "")[0].startswith("E 26000")
