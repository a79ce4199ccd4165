"""The rights of the runtime role, read from the access lists in the catalog.

An entry of a list, such as ``app=arwd/admin``, is parsed here: the catalogs are
documented for DSQL, PostgreSQL's privilege functions are not.
"""

from collections.abc import Iterable, Iterator
from typing import Any

# PostgreSQL documentation, "ACL Privilege Abbreviations".
LETTERS = {
    "SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d",
    "TRUNCATE": "D", "REFERENCES": "x", "TRIGGER": "t", "CREATE": "C",
}  # fmt: skip
ROW_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
EXCESSIVE_PRIVILEGES = ("TRUNCATE", "REFERENCES", "TRIGGER")
READ_ONLY_TABLES = {"django_migrations"}  # the role only needs to read it
PUBLIC = ""  # its entry in an access list has no name
Rows = Iterable[tuple[Any, ...]]
TABLES = """
    SELECT c.relname, c.relacl FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname
"""
SCHEMA = "SELECT nspname, nspacl FROM pg_namespace WHERE nspname = current_schema()"


def parse_granted(acl: list[str] | None, role: str) -> set[str]:
    """The privilege letters that a list gives the role, directly or through PUBLIC."""
    letters = ""
    for entry in acl or ():
        grantee, _, rest = entry.rpartition("=")
        name = grantee.removeprefix('"').removesuffix('"').replace('""', '"')
        if name in (PUBLIC, role):
            letters += rest.partition("/")[0]
    return set(letters) - {"*"}  # a star is the right to grant the privilege to others


def find_lacking(tables: Rows, role: str) -> dict[str, list[str]]:
    """The privileges on rows that the role lacks, by table."""
    found = {}
    for table, acl in tables:
        held = parse_granted(acl, role)
        needed = ("SELECT",) if table in READ_ONLY_TABLES else ROW_PRIVILEGES
        if missing := [name for name in needed if LETTERS[name] not in held]:
            found[table] = missing
    return found


def find_excess(tables: Rows, schemas: Rows, role: str) -> Iterator[str]:
    """Rights on tables and on the schema that go beyond changing rows."""
    for table, acl in tables:
        held = parse_granted(acl, role)
        yield from (
            f"{name} on {table}"
            for name in EXCESSIVE_PRIVILEGES
            if LETTERS[name] in held
        )
    for schema, acl in schemas:
        if LETTERS["CREATE"] in parse_granted(acl, role):
            yield f"CREATE on schema {schema}"
