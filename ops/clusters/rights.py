"""What the runtime role may do, read from the access lists in the catalog.

An entry of a list, such as ``app=arwd/admin``, is taken apart here: the catalogs are
documented for DSQL, PostgreSQL's functions on privileges are not.
"""

from collections.abc import Iterable, Iterator
from typing import Any

# PostgreSQL documentation, "ACL Privilege Abbreviations".
LETTERS = {
    "SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d",
    "TRUNCATE": "D", "REFERENCES": "x", "TRIGGER": "t", "CREATE": "C",
}  # fmt: skip
ROW_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
TOO_MUCH = ("TRUNCATE", "REFERENCES", "TRIGGER")
READ_ONLY = {"django_migrations"}  # of it the role needs to read only
PUBLIC = ""  # whose entry of an access list has no name
Rows = Iterable[tuple[Any, ...]]
TABLES = """
    SELECT c.relname, c.relacl FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname
"""
SCHEMA = "SELECT nspname, nspacl FROM pg_namespace WHERE nspname = current_schema()"


def granted(acl: list[str] | None, role: str) -> set[str]:
    """The letters of what a list allows the role, by itself or as part of PUBLIC."""
    letters = ""
    for entry in acl or ():
        grantee, _, rest = entry.rpartition("=")
        name = grantee.removeprefix('"').removesuffix('"').replace('""', '"')
        if name in (PUBLIC, role):
            letters += rest.partition("/")[0]
    return set(letters) - {"*"}  # a star is the right to pass a privilege on


def lacking(tables: Rows, role: str) -> dict[str, list[str]]:
    """The privileges on rows that the role has not, by table."""
    found = {}
    for table, acl in tables:
        held = granted(acl, role)
        needed = ("SELECT",) if table in READ_ONLY else ROW_PRIVILEGES
        if missing := [name for name in needed if LETTERS[name] not in held]:
            found[table] = missing
    return found


def excess(tables: Rows, schemas: Rows, role: str) -> Iterator[str]:
    """Rights beyond rows, on tables and on the schema."""
    for table, acl in tables:
        held = granted(acl, role)
        yield from (f"{name} on {table}" for name in TOO_MUCH if LETTERS[name] in held)
    for schema, acl in schemas:
        if LETTERS["CREATE"] in granted(acl, role):
            yield f"CREATE on schema {schema}"
