"""Names follow what PostgreSQL has acknowledged."""

from ops.local.sandbox.names import Names, Prepared
from ops.local.sandbox.rules import Kind, Statement


def prepared(sql: str = "SELECT 1") -> Prepared:
    return Prepared(Statement(sql, Kind.READ), b"")


def test_what_is_not_acknowledged_is_taken_back_in_order() -> None:
    names, first, second = Names(), prepared(), prepared()
    names.parse("a", first)
    names.acknowledge_all()
    names.close(b"S"[0], "a")
    names.parse("a", second)
    names.parse("b", second)
    assert names.statements == {"a": second, "b": second}
    names.acknowledge(1)  # the Close only
    assert names.statements == {}


def test_a_failed_parse_of_the_empty_name_leaves_none() -> None:
    names = Names()
    names.parse("", prepared())
    names.acknowledge_all()
    names.parse("", prepared())
    names.acknowledge(0)
    assert names.statements == {}
    assert names.unnamed is None


def test_what_was_never_sent_changes_nothing() -> None:
    names, kept = Names(), prepared()
    names.parse("", kept)
    names.acknowledge_all()
    names.parse("", prepared())
    names.revert()
    assert names.statements == {"": kept}


def test_a_query_of_the_sessions_own_destroys_what_has_no_name() -> None:
    names = Names()
    names.parse("", prepared())
    portal, named = names.bind("", "", b""), names.bind("p", "", b"")
    names.acknowledge_all()
    names.end_unnamed()
    assert portal is not None
    assert named is not None
    assert (names.unnamed, portal.alive, named.alive) == (None, False, True)
    assert set(names.statements) == {""}
    names.end_unnamed_of_client()
    assert (set(names.statements), set(names.portals)) == (set(), {"p"})


def test_an_unknown_statement_binds_nothing() -> None:
    names = Names()
    assert names.bind("p", "unknown", b"") is None
    names.acknowledge(0)
    assert names.portals == {}


def test_deallocate_forgets_one_or_all_that_have_a_name() -> None:
    names = Names()
    for name in ("", "a", "b"):
        names.parse(name, prepared())
    names.acknowledge_all()
    names.deallocate("a")
    assert set(names.statements) == {"", "b"}
    names.deallocate("")
    assert set(names.statements) == {""}
