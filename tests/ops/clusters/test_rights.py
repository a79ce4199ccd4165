"""Access lists as the catalog shows them."""

import pytest

from ops.clusters.rights import find_excess, find_lacking, parse_granted


@pytest.mark.parametrize(
    ("acl", "letters"),
    [
        (None, ""),
        ([], ""),
        (["admin=arwdDxt/admin"], ""),
        (["admin=arwdDxt/admin", "app=rw/admin"], "rw"),
        (["app=r*w*/admin"], "rw"),
        (["=r/admin", "app=w/admin"], "rw"),
        (["app=r/admin", "app=a/other"], "ra"),
        (["apple=D/admin", '"app="=D/admin'], ""),
    ],
)
def test_a_role_has_what_its_own_entries_and_publics_say(
    acl: list[str] | None, letters: str
) -> None:
    assert parse_granted(acl, "app") == set(letters)


def test_a_name_that_needs_quotes_is_read() -> None:
    assert parse_granted(['"odd, ""role"""=w/admin'], 'odd, "role"') == {"w"}


def test_what_is_lacking_is_listed_by_table() -> None:
    tables = [
        ("django_migrations", None),
        ("full", ["app=arwd/admin"]),
        ("half", ["app=rw/admin"]),
    ]
    assert find_lacking(tables, "app") == {
        "django_migrations": ["SELECT"],
        "half": ["INSERT", "DELETE"],
    }


def test_rights_beyond_rows_are_excess() -> None:
    tables = [("t", ["app=arwdDxt/admin"]), ("u", ["app=arwd/admin"])]
    schemas = [("public", ["=UC/admin"])]
    assert list(find_excess(tables, schemas, "app")) == [
        "TRUNCATE on t", "REFERENCES on t", "TRIGGER on t", "CREATE on schema public",
    ]  # fmt: skip
