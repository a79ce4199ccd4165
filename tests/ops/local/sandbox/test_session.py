"""What a client is told, message by message; nothing here does I/O."""

import pytest

from ops.local.sandbox import messages
from ops.local.sandbox.transactions import MAX_AGE
from tests.ops.local.sandbox.session_texts import (
    ABORTED,
    DDL_AND_DML,
    INDEX,
    INSERT,
    MANY,
    SELECT,
    TABLE,
    TOO_MANY,
)
from tests.ops.local.sandbox.upstream import (
    CLOSE,
    SYNC,
    Client,
    bind,
    describe,
    extended,
    parse,
    run,
)

STALE_CATALOG = "E 40001 schema has been updated by another transaction (OC001)"
CONFLICT = "E 40001 change conflicts with another transaction (OC000)"


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def many(client: Client) -> Client:
    client.upstream.tags[MANY] = "INSERT 0 3000"
    return client


# Start and end


def test_the_greeting_names_the_clusters_version(client: Client) -> None:
    assert messages.cstrings("server_version", "16.15") in client.greeting
    assert client.greeting.endswith(messages.ready("I"))


def test_an_upstream_that_refuses_the_login_ends_the_session() -> None:
    session = Client().session
    session.begin(b"startup")
    session.receive_from_server(messages.error("28000", "no", severity="FATAL"))
    assert session.data_for_client() == messages.error("28000", "no", severity="FATAL")
    assert session.closed


@pytest.mark.parametrize("last", [messages.message(b"X"), b"Q\xff\xff\xff\xff"])
def test_terminate_and_an_oversized_message_end_it_without_a_word(
    client: Client, last: bytes
) -> None:
    assert client.send(last) == []
    assert client.session.closed


def test_a_function_call_is_refused(client: Client) -> None:
    answer = client.send(messages.message(b"F", b"\0" * 10))
    assert answer == ["E 0A000 unsupported protocol message", "Z I"]
    assert client.query("SELECT 1") == [*SELECT, "Z I"]


OWN = "SELECT sandbox.submit_index('\"t\"'::regclass, False, False, False)"


def test_a_mismatch_with_an_unchanged_catalog_is_an_error_of_the_sandbox(
    client: Client,
) -> None:
    client.upstream.errors[OWN] = "42703"
    assert client.query(INDEX) == [f"E XX000 sandbox: refused {OWN}", "Z I"]


def test_a_mismatch_is_oc001_while_another_session_commits_ddl(client: Client) -> None:
    client.upstream.errors[OWN] = "42703"
    other = Client().session
    client.session.peers.begin_change(other)
    assert client.query(INDEX) == [STALE_CATALOG, "Z I"]
    client.session.peers.end_change(other, committed=False)
    assert client.query(INDEX) == [f"E XX000 sandbox: refused {OWN}", "Z I"]


def test_a_client_that_is_lost_while_it_commits_ddl_has_changed_the_catalog(
    client: Client,
) -> None:
    client.query("SELECT 1")
    other = Client().session
    client.session.peers.begin_change(other)
    client.session.peers.leave(other)
    assert client.query("SELECT 1") == [STALE_CATALOG, "Z I"]


def test_rows_of_a_copy_that_has_failed_are_ignored(client: Client) -> None:
    rows = [messages.message(kind, b"1\0") for kind in (b"d", b"c", b"f")]
    assert client.send(*rows, messages.query("SELECT 1")) == [*SELECT, "Z I"]


def test_a_message_of_an_unknown_type_ends_the_session(client: Client) -> None:
    answer = client.send(messages.message(b"?"))
    assert answer == ["E 08P01 invalid frontend message type 63"]
    assert client.session.closed


def test_a_message_cut_anywhere_waits_for_its_rest(client: Client) -> None:
    whole = messages.query("SELECT 1") + extended("SELECT 1") + SYNC
    seen = [line for byte in whole for line in client.send(bytes([byte]))]
    assert seen == [*SELECT, "Z I", "1", "2", "C SELECT 1", "Z I"]


def test_messages_wait_while_the_answer_before_is_under_way(client: Client) -> None:
    answer = client.send(messages.query(INSERT), messages.query("SELECT 1"))
    assert answer == ["C INSERT 0 1", "Z I", *SELECT, "Z I"]


def test_a_notice_between_statements_goes_straight_on(client: Client) -> None:
    notice = messages.message(b"N", b"\0")
    client.session.receive_from_server(notice)
    assert client.session.data_for_client() == notice


# Simple protocol


@pytest.mark.parametrize("empty", ["", " ", ";", "-- nothing"])
def test_an_empty_query_has_its_own_answer(client: Client, empty: str) -> None:
    assert client.query(empty) == ["I", "Z I"]


def test_a_single_read_is_one_exchange(client: Client) -> None:
    assert client.query("SELECT 1") == [*SELECT, "Z I"]
    assert client.upstream.log == ["SELECT 1"]


def test_a_refused_statement_reaches_nothing(client: Client) -> None:
    assert client.query("TRUNCATE t") == [
        "E 0A000 unsupported statement: Truncate",
        "Z I",
    ]
    assert "TRUNCATE t" not in client.upstream.log


def test_several_statements_are_one_transaction(client: Client) -> None:
    answer = client.query(f"{INSERT}; UPDATE t SET a = 2; SELECT 1")
    assert answer == ["C INSERT 0 1", "C UPDATE 1", *SELECT, "Z I"]
    assert client.upstream.log[0] == "BEGIN"
    assert client.upstream.log[-1] == "COMMIT"
    assert client.upstream.log.count("COMMIT") == 1


@pytest.mark.parametrize(
    ("second", "error"),
    [
        ("UPDATE t SET a = 2", "E 23505 refused UPDATE t SET a = 2"),
        ("SAVEPOINT s", "E 0A000 unsupported transaction statement: SAVEPOINT"),
    ],
)
def test_an_error_in_one_of_several_undoes_and_skips_the_others(
    client: Client, second: str, error: str
) -> None:
    client.upstream.errors[second] = "23505"
    answer = client.query(f"{INSERT}; {second}; SELECT 1")
    assert answer == ["C INSERT 0 1", error, "Z I"]
    assert client.upstream.log[-1] == "ROLLBACK"
    assert "SELECT 1" not in client.upstream.log
    assert client.query("SELECT 1") == [*SELECT, "Z I"]


def test_a_block_inside_one_query_ends_with_its_own_commit(client: Client) -> None:
    answer = client.query(f"BEGIN; {INSERT}; COMMIT; {TABLE}")
    assert answer == [
        "C BEGIN",
        "C INSERT 0 1",
        "C COMMIT",
        "C CREATE TABLE",
        "Z I",
    ]


def test_begin_after_a_statement_keeps_what_was_done(client: Client) -> None:
    assert client.query(f"{INSERT}; BEGIN") == ["C INSERT 0 1", "C BEGIN", "Z T"]
    assert client.query(TABLE) == [DDL_AND_DML, "Z E"]


def test_a_syntax_error_is_postgresqls(client: Client) -> None:
    client.upstream.errors["no SQL"] = "42601"
    assert client.query("no SQL") == ["E 42601 refused no SQL", "Z I"]


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_conflict_at_commit_has_the_clusters_words(
    client: Client, state: str
) -> None:
    client.query("BEGIN")
    client.query(INSERT)
    client.upstream.errors["COMMIT"] = state
    assert client.query("COMMIT") == [CONFLICT, "Z I"]
    client.upstream.errors.clear()
    assert client.query(TABLE) == ["C CREATE TABLE", "Z I"]


# Aborted transactions


@pytest.mark.parametrize(
    "cause", ["TRUNCATE t", "SELECT wrong"], ids=["refused here", "by PostgreSQL"]
)
def test_an_aborted_transaction_answers_25p02_until_its_end(
    client: Client, cause: str
) -> None:
    client.upstream.errors["SELECT wrong"] = "42703"
    client.query("BEGIN")
    assert client.query(cause)[-1] == "Z E"
    for sql in ("SELECT 1", INSERT, TABLE, "TRUNCATE t", "BEGIN"):
        assert client.query(sql) == [ABORTED, "Z E"], sql
    assert client.execute("SELECT 1") == [ABORTED, "Z E"]
    assert client.query("COMMIT") == ["C ROLLBACK", "Z I"]
    assert client.query("SELECT 1") == [*SELECT, "Z I"]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "END", "ABORT"])
@pytest.mark.parametrize("cause", ["TRUNCATE t", "SELECT wrong"])
def test_every_end_of_an_aborted_transaction_answers_rollback(
    client: Client, end: str, cause: str
) -> None:
    client.upstream.errors["SELECT wrong"] = "42703"
    client.execute("BEGIN")
    assert client.execute(cause)[-1] == "Z E"
    assert client.execute(end)[-2:] == ["C ROLLBACK", "Z I"]
    assert client.query("SELECT 1") == [*SELECT, "Z I"]


def test_a_bare_sync_is_never_refused(client: Client) -> None:
    client.query("BEGIN")
    client.query("TRUNCATE t")
    assert client.send(SYNC) == ["Z E"]
    assert client.send(CLOSE, SYNC) == ["3", "Z E"]
    assert client.query("") == ["I", "Z E"]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_syntax_error_comes_before_25p02(client: Client, protocol: str) -> None:
    say = client.query if protocol == "simple" else client.execute
    client.upstream.errors["SELEC 1"] = "42601"
    say("BEGIN")
    say("TRUNCATE t")
    assert say("SELEC 1") == ["E 42601 refused SELEC 1", "Z E"]
    assert say("ROLLBACK")[-2:] == ["C ROLLBACK", "Z I"]


# AND CHAIN, START TRANSACTION, several statements


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_and_chain_opens_a_new_transaction(
    many: Client, end: str, protocol: str
) -> None:
    say = many.query if protocol == "simple" else many.execute
    say("BEGIN")
    assert say(MANY)[-1] == "Z T"
    many.now += MAX_AGE
    assert say(f"{end} AND CHAIN")[-2:] == [f"C {end}", "Z T"]
    many.now += MAX_AGE
    assert say(MANY)[-2:] == ["C INSERT 0 3000", "Z T"]
    assert say(INSERT)[-2:] == [TOO_MANY, "Z E"]
    assert say("ROLLBACK AND CHAIN")[-2:] == ["C ROLLBACK", "Z T"]
    assert say(TABLE)[-2:] == ["C CREATE TABLE", "Z T"]
    assert say("COMMIT")[-2:] == ["C COMMIT", "Z I"]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_and_chain_needs_a_block(client: Client, protocol: str) -> None:
    say = client.query if protocol == "simple" else client.execute
    error = "E 25P01 COMMIT AND CHAIN can only be used in transaction blocks"
    assert say("COMMIT AND CHAIN")[-2:] == [error, "Z I"]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_start_transaction_has_its_own_tag(client: Client, protocol: str) -> None:
    say = client.query if protocol == "simple" else client.execute
    assert say("START TRANSACTION")[-2:] == ["C START TRANSACTION", "Z T"]


@pytest.mark.parametrize("sql", [f"{INSERT}; SELEC 1", f"BEGIN; {INSERT}; COMMIT; )"])
def test_nothing_of_a_query_runs_when_a_part_is_no_sql(
    client: Client, sql: str
) -> None:
    client.upstream.errors[sql] = "42601"
    assert client.query(sql) == [f"E 42601 refused {sql}", "Z I"]
    assert client.upstream.log == [sql]


def test_what_only_the_sandbox_cannot_read_is_not_run(client: Client) -> None:
    """PostgreSQL is asked by a Parse, whatever it makes of the text."""
    assert client.query("SELEC 1") == ["E 42601 syntax error", "Z I"]
    assert client.execute("SELEC 1") == ["1", "2", "E 42601 syntax error", "Z I"]
    assert "SELEC 1" not in client.upstream.log


@pytest.mark.parametrize(
    ("sql", "node"),
    [
        ("DISCARD ALL", "Discard"),
        ("PREPARE p AS INSERT INTO t VALUES (1)", "Prepare"),
        ("EXECUTE p", "Execute"),
    ],
)
def test_statements_about_prepared_ones_are_refused(
    client: Client, sql: str, node: str
) -> None:
    assert client.query(sql) == [f"E 0A000 unsupported statement: {node}", "Z I"]


# DSQL's own words


def test_an_index_job_answers_its_id(client: Client) -> None:
    assert client.query(INDEX) == ["T", "D", "C CREATE INDEX", "Z I"]
    described = [parse(INDEX), bind(), describe(), run(), SYNC]
    assert client.send(*described) == ["1", "2", "T", "D", "C CREATE INDEX", "Z I"]
    assert client.execute(INDEX) == ["1", "2", "D", "C CREATE INDEX", "Z I"]
    assert "CREATE INDEX i ON t (a)" in client.upstream.log


def test_an_iam_grant_answers_no_rows(client: Client) -> None:
    sql = "AWS IAM GRANT app TO 'arn:aws:iam::123456789012:role/x'"
    assert client.query(sql) == ["C AWS IAM GRANT", "Z I"]
    described = [parse(sql), bind(), describe(), run(), SYNC]
    assert client.send(*described) == ["1", "2", "n", "C AWS IAM GRANT", "Z I"]
