"""Tables, columns, constraints, indexes and sequences."""

from collections.abc import Iterable
from typing import Any

from postgast import pg_query_pb2 as pg

from ops.sandbox.rules.model import Refusal
from ops.sandbox.rules.relations import literal, name_of

# As format_type() prints them.
SPELLED = {
    "int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean",
    "float4": "real", "float8": "double precision", "varbit": "bit varying",
    "bpchar": "character", "varchar": "character varying",
}  # fmt: skip
REFUSED_TYPES = {
    "money", "xml", "inet", "cidr", "macaddr", "macaddr8", "point", "line", "lseg", "box",
    "path", "polygon", "circle", "tsvector", "tsquery", "int4range", "int8range", "numrange",
    "tsrange", "tstzrange", "daterange", "bit", "varbit", "pg_lsn", "int4multirange", "oid",
}  # fmt: skip
SERIALS = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}
CACHE = (
    "is not supported without an explicit cache size. please define CACHE greater than or "
    "equal to 65536 or equal to 1"
)
ALTERATIONS = {
    "AT_AddColumn", "AT_DropColumn", "AT_ColumnDefault", "AT_DropNotNull", "AT_AddIdentity",
    "AT_SetIdentity", "AT_DropIdentity", "AT_DropExpression", "AT_SetStorage",
    "AT_AddConstraint", "AT_AlterConstraint", "AT_DropConstraint", "AT_ChangeOwner",
    "AT_ValidateConstraint", "AT_EnableTrigAll", "AT_DisableTrigAll", "AT_EnableTrigUser",
    "AT_DisableTrigUser",
}  # fmt: skip
COLUMN_ALTERATIONS = {
    "AT_AlterColumnType": "SET DATA TYPE",
    "AT_SetNotNull": "SET NOT NULL",
    "AT_SetStatistics": "SET STATISTICS",
    "AT_SetCompression": "SET COMPRESSION",
}
TABLE_ALTERATIONS = {
    "AT_EnableRowSecurity": "ENABLE ROW SECURITY",
    "AT_DisableRowSecurity": "DISABLE ROW SECURITY",
}
MAX_KEYS, MAX_COLUMNS, MAX_INDEXES = 8, 255, 24
TOO_MANY_COLUMNS = f"54011 tables can have at most {MAX_COLUMNS} columns"
TOO_MANY_INDEXES = f"54000 more than {MAX_INDEXES} indexes per table are not allowed"
TOO_MANY_KEYS = Refusal(
    "54011", f"more than {MAX_KEYS} column keys in an index are not supported"
)


def unsupported(message: str) -> Refusal:
    return Refusal("0A000", message)


def create_table(node: Any, is_async: bool) -> Refusal | None:
    persistence = {"t": "TEMPORARY or TEMP", "u": "UNLOGGED"}.get(
        node.relation.relpersistence
    )
    if persistence:
        return unsupported(f"{persistence} table not supported for CREATE TABLE")
    if node.HasField("partspec"):
        return unsupported("PARTITION BY clause not supported for CREATE TABLE")
    if node.HasField("partbound"):
        return unsupported("PARTITION OF clause not supported for CREATE TABLE")
    if node.inh_relations:
        return unsupported("INHERITS clause not supported for CREATE TABLE")
    columns = [e.column_def for e in node.table_elts if e.HasField("column_def")]
    if len(columns) > MAX_COLUMNS:
        return Refusal(*TOO_MANY_COLUMNS.split(" ", 1))
    keys = [e.constraint.keys for e in node.table_elts if e.HasField("constraint")]
    if any(len(key) > MAX_KEYS for key in keys):
        return TOO_MANY_KEYS
    return first(column(definition) for definition in columns)


def first(refusals: Iterable[Refusal | None]) -> Refusal | None:
    return next((refusal for refusal in refusals if refusal), None)


def column(definition: Any) -> Refusal | None:
    if definition.HasField("coll_clause"):
        return unsupported("COLLATE clause not supported")
    refusal = column_type(definition.type_name)
    if refusal:
        return refusal
    constraints = [c.constraint for c in definition.constraints]
    return first(
        identity(definition, c) for c in constraints if c.contype == pg.CONSTR_IDENTITY
    )


def column_type(type_name: Any) -> Refusal | None:
    name = type_name.names[-1].string.sval
    if name in SERIALS:
        return Refusal("42704", f'type "{name}" does not exist')
    spelled = SPELLED.get(name, name)
    if type_name.array_bounds:
        return unsupported(f"datatype {spelled}[] not supported")
    if name in REFUSED_TYPES:
        return unsupported(f"datatype {spelled} not supported")
    return None


def identity(definition: Any, constraint: Any) -> Refusal | None:
    name = definition.type_name.names[-1].string.sval
    if name != "int8":
        message = "not supported, identity column type must be bigint"
        return unsupported(f"datatype {SPELLED.get(name, name)} {message}")
    if not cache_allowed(constraint.options):
        return unsupported(f"identity column {CACHE}")
    return None


def cache_allowed(options: Any) -> bool:
    for option in options:
        if option.def_elem.defname == "cache":
            size = option.def_elem.arg.integer.ival
            return bool(size == 1 or size >= 65536)
    return False


def sequence(node: Any, is_async: bool) -> Refusal | None:
    return (
        None if cache_allowed(node.options) else unsupported(f"CREATE SEQUENCE {CACHE}")
    )


def create_index(node: Any, is_async: bool) -> Refusal | None:
    if node.concurrent:
        return unsupported("CONCURRENTLY not supported for CREATE INDEX")
    if not is_async:
        return unsupported("unsupported mode. please use CREATE INDEX ASYNC.")
    if node.access_method != "btree":
        return unsupported("USING not supported for CREATE INDEX")
    if len(node.index_params) > MAX_KEYS:
        return TOO_MANY_KEYS
    return first(index_key(param.index_elem) for param in node.index_params)


def index_key(key: Any) -> Refusal | None:
    if key.ordering != pg.SORTBY_DEFAULT:
        return unsupported("specifying sort order not supported for index keys")
    if key.opclass:
        return unsupported("opclass not supported for index keys")
    if key.collation:
        return unsupported("COLLATE clause not supported")
    return None


def alter_table(node: Any, is_async: bool) -> Refusal | None:
    return first(alteration(cmd.alter_table_cmd, is_async) for cmd in node.cmds)


def alteration(cmd: Any, is_async: bool) -> Refusal | None:
    name = pg.AlterTableType.Name(cmd.subtype)
    if name in COLUMN_ALTERATIONS:
        action = COLUMN_ALTERATIONS[name]
        return unsupported(
            f"unsupported ALTER TABLE ALTER COLUMN ... {action} statement"
        )
    if name not in ALTERATIONS:
        action = TABLE_ALTERATIONS.get(name, name.removeprefix("AT_"))
        return unsupported(f"unsupported ALTER TABLE {action} statement")
    if name == "AT_ValidateConstraint" and not is_async:
        return unsupported("unsupported ALTER TABLE VALIDATE CONSTRAINT statement")
    if name == "AT_AddColumn":
        return added_column(getattr(cmd, "def").column_def)
    if name == "AT_AddConstraint":
        return added_constraint(getattr(cmd, "def").constraint)
    return None


def added_column(definition: Any) -> Refusal | None:
    refusal = column_type(definition.type_name)
    if refusal:
        return refusal
    if any(c.constraint.contype != pg.CONSTR_NULL for c in definition.constraints):
        return unsupported("ALTER TABLE ADD COLUMN with constraint not supported")
    return None


def added_constraint(constraint: Any) -> Refusal | None:
    allowed = constraint.contype == pg.CONSTR_UNIQUE and constraint.indexname
    if constraint.contype in (pg.CONSTR_CHECK, pg.CONSTR_FOREIGN):
        allowed = constraint.skip_validation
    return (
        None
        if allowed
        else unsupported("unsupported ALTER TABLE ADD CONSTRAINT statement")
    )


def primary_key_guards(node: Any) -> list[str]:
    """Queries for what the statement would take from the primary key."""
    table, queries = f"to_regclass({literal(name_of(node.relation))})", []
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
        f"SELECT {literal(TOO_MANY_COLUMNS)} FROM pg_attribute WHERE attnum > 0 "  # noqa: S608 - quoted
        f"AND NOT attisdropped AND attrelid = to_regclass({literal(name_of(node.relation))}) "
        f"HAVING count(*) > {MAX_COLUMNS - added}"
    ]


def index_count_guard(node: Any) -> str:
    return (
        f"SELECT {literal(TOO_MANY_INDEXES)} FROM pg_index "  # noqa: S608 - quoted
        f"WHERE indrelid = to_regclass({literal(name_of(node.relation))}) "
        f"HAVING count(*) >= {MAX_INDEXES}"
    )
