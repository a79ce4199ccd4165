"""Tables: their columns, constraints and changes."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from postgast import pg_query_pb2 as pg

from ops.local.sandbox.rules.assumptions import is_assumed
from ops.local.sandbox.rules.model import Refusal
from ops.local.sandbox.rules.relations import format_name, literal
from ops.local.sandbox.rules.types import (
    check_changed_options,
    check_column_type,
    check_identity,
    check_identity_options,
    check_key_types,
    unsupported,
)

ALTERATIONS = {
    "AT_AddColumn", "AT_DropColumn", "AT_ColumnDefault", "AT_DropNotNull", "AT_AddIdentity",
    "AT_SetIdentity", "AT_DropIdentity", "AT_DropExpression", "AT_SetStorage",
    "AT_AddConstraint", "AT_AlterConstraint", "AT_DropConstraint", "AT_ChangeOwner",
    "AT_ValidateConstraint", "AT_EnableTrigAll", "AT_DisableTrigAll", "AT_EnableTrigUser",
    "AT_DisableTrigUser",
}  # fmt: skip
ALTERABLE = (pg.OBJECT_TABLE, pg.OBJECT_VIEW, pg.OBJECT_SEQUENCE, pg.OBJECT_INDEX)
COLUMN_ALTERATIONS = {
    "AT_AlterColumnType": "SET DATA TYPE",
    "AT_SetNotNull": "SET NOT NULL",
    "AT_SetStatistics": "SET STATISTICS",
    "AT_SetCompression": "SET COMPRESSION",
    "AT_SetOptions": "SET",
    "AT_ResetOptions": "RESET",
    "AT_SetExpression": "SET EXPRESSION",
}
WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Constraints as a column and as a table may have them; the rest are attributes of those.
CONSTRAINTS = {
    pg.CONSTR_NULL, pg.CONSTR_NOTNULL, pg.CONSTR_DEFAULT, pg.CONSTR_IDENTITY,
    pg.CONSTR_GENERATED, pg.CONSTR_CHECK, pg.CONSTR_PRIMARY, pg.CONSTR_UNIQUE,
    pg.CONSTR_FOREIGN, pg.CONSTR_ATTR_DEFERRABLE, pg.CONSTR_ATTR_NOT_DEFERRABLE,
    pg.CONSTR_ATTR_DEFERRED, pg.CONSTR_ATTR_IMMEDIATE,
}  # fmt: skip
CONSTRAINT_WORDS = {pg.CONSTR_EXCLUSION: "EXCLUDE"}
KEYS = (pg.CONSTR_PRIMARY, pg.CONSTR_UNIQUE)
MAX_KEYS, MAX_INDEXES = 8, 24
TOO_MANY_KEYS = Refusal(
    "54011", f"more than {MAX_KEYS} column keys in an index are not supported"
)


def max_columns() -> int:
    return 255 if is_assumed("columns-255") else 256


def too_many_columns() -> str:
    """The SQLSTATE and the documented text, whose number is one less than seen live."""
    return "54011 tables can have at most 255 columns"


def find_first(refusals: Iterable[Refusal | None]) -> Refusal | None:
    return next((refusal for refusal in refusals if refusal), None)


# CREATE TABLE


def check_create_table(node: Any, is_async: bool) -> Refusal | None:
    persistence = {"t": "TEMPORARY or TEMP", "u": "UNLOGGED"}.get(
        node.relation.relpersistence
    )
    if persistence:
        return unsupported(f"{persistence} table not supported for CREATE TABLE")
    if clause := next(_refused_clauses(node), ""):
        return unsupported(f"{clause} clause not supported for CREATE TABLE")
    columns = [e.column_def for e in node.table_elts if e.HasField("column_def")]
    if len(columns) > max_columns():
        return Refusal(*too_many_columns().split(" ", 1))
    constraints = [e.constraint for e in node.table_elts if e.HasField("constraint")]
    return (
        find_first(check_column(definition) for definition in columns)
        or find_first(check_constraint(c) for c in constraints)
        or find_first(check_key_types(key) for key in _keys(columns, constraints))
    )


def _refused_clauses(node: Any) -> Iterator[str]:
    if node.HasField("partspec"):
        yield "PARTITION BY"
    if node.HasField("partbound"):
        yield "PARTITION OF"
    if node.inh_relations:
        yield "INHERITS"
    if node.HasField("of_typename"):
        yield "OF"
    if node.access_method:
        yield "USING"
    if node.options:
        yield "WITH"
    if node.oncommit != pg.ONCOMMIT_NOOP:
        yield "ON COMMIT"
    if node.tablespacename:
        yield "TABLESPACE"


def _keys(columns: list[Any], constraints: list[Any]) -> Iterator[list[Any]]:
    """The types of the columns of each primary key and UNIQUE constraint."""
    types = {column.colname: column.type_name for column in columns}
    for made in constraints:
        if made.contype in KEYS:
            names = [key.string.sval for key in made.keys]
            yield [types[name] for name in names if name in types]
    for definition in columns:
        if any(c.constraint.contype in KEYS for c in definition.constraints):
            yield [definition.type_name]


def check_column(definition: Any) -> Refusal | None:
    if definition.HasField("coll_clause"):
        return unsupported("COLLATE clause not supported")
    if definition.compression:
        return unsupported("COMPRESSION clause not supported")
    if definition.fdwoptions:
        return unsupported("OPTIONS clause not supported")
    constraints = [c.constraint for c in definition.constraints]
    return (
        check_column_type(definition.type_name)
        or find_first(
            check_identity(definition, c)
            for c in constraints
            if c.contype == pg.CONSTR_IDENTITY
        )
        or find_first(check_constraint(c) for c in constraints)
        or _deferrable(constraints)
    )


def _deferrable(constraints: list[Any]) -> Refusal | None:
    """A UNIQUE of one column, whose attributes stand beside it."""
    attributes = {c.contype for c in constraints}
    late = {pg.CONSTR_ATTR_DEFERRABLE, pg.CONSTR_ATTR_DEFERRED}
    refused = is_assumed("no-deferrable-unique") and attributes & {*KEYS}
    return _no_deferrable() if refused and attributes & late else None


def _no_deferrable() -> Refusal:
    return unsupported("DEFERRABLE clause not supported for UNIQUE constraint")


def check_constraint(made: Any) -> Refusal | None:
    if made.contype not in CONSTRAINTS:
        word = CONSTRAINT_WORDS.get(
            made.contype, pg.ConstrType.Name(made.contype).removeprefix("CONSTR_")
        )
        return unsupported(f"{word} constraint not supported")
    if len(made.keys) > MAX_KEYS:
        return TOO_MANY_KEYS
    if made.including:
        return unsupported("INCLUDE clause not supported for constraint")
    if made.options and made.contype in KEYS:
        return unsupported("WITH clause not supported for constraint")
    if made.indexspace:
        return unsupported("TABLESPACE clause not supported for constraint")
    if made.is_no_inherit:
        return unsupported("NO INHERIT clause not supported for constraint")
    if made.contype in KEYS and (made.deferrable or made.initdeferred):
        return _no_deferrable() if is_assumed("no-deferrable-unique") else None
    return None


# ALTER TABLE


def check_alter_table(node: Any, is_async: bool) -> Refusal | None:
    if node.objtype == pg.OBJECT_TYPE:
        return unsupported("ALTER TYPE not supported")
    if node.objtype not in ALTERABLE:
        words = pg.ObjectType.Name(node.objtype).removeprefix("OBJECT_")
        return unsupported(f"unsupported statement: Alter{words.capitalize()}")
    return find_first(
        check_alteration(cmd.alter_table_cmd, is_async) for cmd in node.cmds
    )


def check_alteration(cmd: Any, is_async: bool) -> Refusal | None:
    name = pg.AlterTableType.Name(cmd.subtype)
    if name in COLUMN_ALTERATIONS:
        action = COLUMN_ALTERATIONS[name]
        return unsupported(
            f"unsupported ALTER TABLE ALTER COLUMN ... {action} statement"
        )
    if name not in ALTERATIONS:
        action = WORDS.sub(" ", name.removeprefix("AT_")).upper()
        return unsupported(f"unsupported ALTER TABLE {action} statement")
    if name == "AT_ValidateConstraint" and not is_async:
        return unsupported("unsupported ALTER TABLE VALIDATE CONSTRAINT statement")
    definition = getattr(cmd, "def")
    if name == "AT_AddColumn":
        return check_added_column(definition.column_def)
    if name == "AT_AddConstraint":
        return check_added_constraint(definition.constraint)
    if name == "AT_AddIdentity":
        return check_identity_options(definition.constraint.options)
    if name == "AT_SetIdentity":
        return check_changed_options(
            o for o in definition.list.items if o.def_elem.defname != "generated"
        )
    return None


def check_added_column(definition: Any) -> Refusal | None:
    if any(c.constraint.contype != pg.CONSTR_NULL for c in definition.constraints):
        refusal = check_column_type(definition.type_name)
        return refusal or unsupported(
            "ALTER TABLE ADD COLUMN with constraint not supported"
        )
    return check_column(definition)


def check_added_constraint(made: Any) -> Refusal | None:
    allowed = made.contype == pg.CONSTR_UNIQUE and made.indexname
    if made.contype in (pg.CONSTR_CHECK, pg.CONSTR_FOREIGN):
        allowed = made.skip_validation
    if not allowed:
        return unsupported("unsupported ALTER TABLE ADD CONSTRAINT statement")
    return check_constraint(made)


# What only the catalog can tell


def primary_key_guards(node: Any) -> list[str]:
    """Queries for what the statement would take from the primary key."""
    table, queries = f"to_regclass({literal(format_name(node.relation))})", []
    if columns := _dropped(node, pg.AT_DropColumn):
        queries.append(
            "SELECT '0A000 cannot drop primary key column ' || attname FROM pg_index "  # noqa: S608 - quoted
            "JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) "
            f"WHERE indisprimary AND indrelid = {table} AND attname IN ({columns})"
        )
    if constraints := _dropped(node, pg.AT_DropConstraint):
        queries.append(
            "SELECT '0A000 unsupported ALTER TABLE DROP CONSTRAINT statement' "  # noqa: S608 - quoted
            f"FROM pg_constraint WHERE contype = 'p' AND conrelid = {table} "
            f"AND conname IN ({constraints})"
        )
    return queries


def identity_guards(node: Any) -> list[str]:
    """A query for a column that would become an identity and is no bigint."""
    commands = (command.alter_table_cmd for command in node.cmds)
    names = [literal(c.name) for c in commands if c.subtype == pg.AT_AddIdentity]
    if not names:
        return []
    return [
        "SELECT '0A000 datatype ' || format_type(atttypid, NULL) || "  # noqa: S608 - quoted
        "' not supported, identity column type must be bigint' FROM pg_attribute "
        f"WHERE attrelid = to_regclass({literal(format_name(node.relation))}) "
        f"AND attname IN ({', '.join(names)}) AND atttypid <> 'bigint'::regtype"
    ]


def _dropped(node: Any, subtype: int) -> str:
    commands = (command.alter_table_cmd for command in node.cmds)
    return ", ".join(literal(c.name) for c in commands if c.subtype == subtype)


def column_count_guards(node: Any) -> list[str]:
    """A query that finds a row when the added columns are too many."""
    subtypes = [cmd.alter_table_cmd.subtype for cmd in node.cmds]
    added = subtypes.count(pg.AT_AddColumn)
    if not added:
        return []
    return [
        f"SELECT {literal(too_many_columns())} FROM pg_attribute WHERE attnum > 0 "  # noqa: S608 - quoted
        f"AND NOT attisdropped AND attrelid = to_regclass({literal(format_name(node.relation))}) "
        f"HAVING count(*) > {max_columns() - added}"
    ]
