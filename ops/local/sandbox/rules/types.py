"""What columns and sequences may be."""

from collections.abc import Iterator
from typing import Any

from postgast import pg_query_pb2 as pg
from postgast import walk

from ops.local.sandbox.rules.model import Refusal
from ops.local.sandbox.rules.scan import tokens

# As format_type() prints them.
SPELLED = {
    "int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean",
    "float4": "real", "float8": "double precision", "varbit": "bit varying",
    "bpchar": "character", "varchar": "character varying",
}  # fmt: skip
# PostgreSQL's own types that cannot be stored, refused by name before anything runs;
# ``sandbox.check_table`` knows those that can, and refuses whatever else there is.
REFUSED = {
    "aclitem", "any", "anyarray", "anyelement", "anyenum", "anyrange", "bit", "box", "char",
    "cid", "cidr", "circle", "cstring", "datemultirange", "daterange", "gtsvector", "inet",
    "int2vector", "int4multirange", "int4range", "int8multirange", "int8range", "internal",
    "jsonpath", "line", "lseg", "macaddr", "macaddr8", "money", "name", "nummultirange",
    "numrange", "oid", "oidvector", "path", "pg_lsn", "pg_node_tree", "pg_snapshot", "point",
    "polygon", "record", "refcursor", "regclass", "regcollation", "regconfig",
    "regdictionary", "regnamespace", "regoper", "regoperator", "regproc", "regprocedure",
    "regrole", "regtype", "tid", "trigger", "tsmultirange", "tsquery", "tsrange",
    "tstzmultirange", "tstzrange", "tsvector", "txid_snapshot", "unknown", "varbit", "void",
    "xid", "xid8", "xml",
}  # fmt: skip
RANGES = {name for name in REFUSED if name.endswith("range") and name != "anyrange"}
GEOMETRY = {"line", "circle", "point", "lseg", "box", "path", "polygon"}
NO_KEYS = ("json", "jsonb", "bytea")
SERIALS = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}
MAX_DECLARED = {"bpchar": 4096, "varchar": 65_535}  # bytes
MAX_KEY = 2000  # bytes
CACHE = (
    "is not supported without an explicit cache size. please define CACHE greater than or "
    "equal to 65536 or equal to 1"
)
SEQUENCE_OPTIONS = {
    "as", "cache", "cycle", "increment", "maxvalue", "minvalue", "restart", "start",
    "owned_by",
}  # fmt: skip
KEY_TOO_LARGE = Refusal("54000", f"key size greater than {MAX_KEY} bytes not supported")


def unsupported(message: str) -> Refusal:
    return Refusal("0A000", message)


def parse_type_name(type_name: Any) -> str:
    """The last part of its name, as the catalog has it."""
    return str(type_name.names[-1].string.sval) if type_name.names else ""


def check_column_type(type_name: Any) -> Refusal | None:
    name = parse_type_name(type_name)
    if name in SERIALS:
        return Refusal("42704", f'type "{name}" does not exist')
    spelled = SPELLED.get(name, name)
    if type_name.array_bounds:
        return unsupported(f"datatype {spelled}[] not supported")
    if type_name.setof:
        return unsupported(f"datatype SETOF {spelled} not supported")
    if name in REFUSED:
        return unsupported(f"datatype {spelled} not supported")
    limit = MAX_DECLARED.get(name)
    if limit is not None and (declared_size(type_name) or 0) > limit:
        message = (
            f"datatype limit greater than {limit} bytes not supported for {spelled}"
        )
        return Refusal("54000", message)
    return None


def declared_size(type_name: Any) -> int | None:
    """The n of char(n) and varchar(n)."""
    if parse_type_name(type_name) not in MAX_DECLARED or len(type_name.typmods) != 1:
        return None
    return int(type_name.typmods[0].a_const.ival.ival)


def check_key_types(type_names: list[Any]) -> Refusal | None:
    """Of the columns of one key."""
    for type_name in type_names:
        name = parse_type_name(type_name)
        if name in NO_KEYS:
            return unsupported(f"datatype {name} is not supported in a key")
    if sum(declared_size(type_name) or 0 for type_name in type_names) > MAX_KEY:
        return KEY_TOO_LARGE
    return None


def add_default_precision(sql: str, node: Any) -> str:
    """The statement with numeric(18,6) for each column's or domain's numeric."""
    text = sql.encode()
    for place in sorted(_bare_numerics(node), reverse=True):
        tail = text[place:].decode()
        end = _end_of_name(tail)
        text = text[:place] + (tail[:end] + "(18,6)" + tail[end:]).encode()
    return text.decode()


def _bare_numerics(node: Any) -> Iterator[int]:
    for _, part in walk(node):
        if isinstance(part, pg.ColumnDef | pg.CreateDomainStmt):
            found = part.type_name
            if parse_type_name(found) == "numeric" and not found.typmods:
                yield found.location


def _end_of_name(tail: str) -> int:
    found = tokens(tail)
    at = 0
    while len(found) > at + 2 and found[at + 1].text == ".":
        at += 2
    return found[at].end


def check_identity(definition: Any, constraint: Any) -> Refusal | None:
    name = parse_type_name(definition.type_name)
    if name != "int8":
        message = "not supported, identity column type must be bigint"
        return unsupported(f"datatype {SPELLED.get(name, name)} {message}")
    return check_identity_options(constraint.options)


def check_identity_options(options: Any) -> Refusal | None:
    if not is_cache_allowed(options):
        return unsupported(f"identity column {CACHE}")
    return check_sequence_options(options)


def check_changed_options(options: Any) -> Refusal | None:
    """Of a sequence that has its cache: only another one is looked at."""
    named = [option.def_elem for option in options]
    if any(option.defname == "cache" for option in named) and not is_cache_allowed(
        options
    ):
        return unsupported(f"ALTER SEQUENCE {CACHE}")
    return check_sequence_options(options)


def check_sequence_options(options: Any) -> Refusal | None:
    for option in options:
        name = option.def_elem.defname
        if name not in SEQUENCE_OPTIONS:
            return unsupported(f"sequence option {name} not supported")
    return None


def is_cache_allowed(options: Any) -> bool:
    for option in options:
        if option.def_elem.defname == "cache":
            arg = option.def_elem.arg  # beyond 32 bits it is a float
            size = arg.integer.ival or int(arg.float.fval or 0)
            return bool(size == 1 or size >= 65536)
    return False


def check_sequence(node: Any, is_async: bool) -> Refusal | None:
    persistence = {"t": "TEMPORARY or TEMP", "u": "UNLOGGED"}
    if kind := persistence.get(node.sequence.relpersistence):
        return unsupported(f"{kind} sequence not supported for CREATE SEQUENCE")
    if not is_cache_allowed(node.options):
        return unsupported(f"CREATE SEQUENCE {CACHE}")
    return check_sequence_options(node.options)


def check_altered_sequence(node: Any, is_async: bool) -> Refusal | None:
    return check_changed_options(node.options)
