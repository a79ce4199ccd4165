"""What statements are alike: their shape, and the parts of the language it is made of.

A shape is SQL still: literals and quoted names are blanked, what a list repeats stands
there once. Two statements of one shape ask the same of the database.
"""

import re
from collections.abc import Iterator
from typing import Any

from postgast import parse, walk

from ops.local.sandbox.rules.scan import AWS_IAM, split, strip_async, tokens

BLANKS = {"string": "'?'", "dollar": "'?'", "quoted": '"n"'}
NUMBER = re.compile(r"(?<![\w$\"'.])\d+(?:\.\d+)?")
SIGN = re.compile(r"(?<=[=(,])( ?)[-+]0")
PARAMETER = re.compile(r"\$\d+")
COMMA = re.compile(r" ?, ?")
GROUP = re.compile(r"\([^()]*\)")
# An element of a list and its repetitions.
REPEATED = re.compile(r"(?<![\w\"'.$)])([^\s,][^,]*?)(?:, ?\1)+(?![\w\"'.(:])")
HELD = re.compile(r"\x00(\d+)\x00")
CATALOG_SCHEMAS = ("pg_catalog", "information_schema", "sys")
# Fields that hold names, values or places in the text, or what such a node always has.
PLAIN_FIELDS = {
    "location", "stmt_location", "stmt_len", "sval", "ival", "fval", "boolval", "str", "arg",
    "args", "lexpr", "rexpr", "name", "relation", "larg", "rarg", "xpr", "funcname", "funcformat",
    "type_name", "return_type", "node", "def", "cmds", "objects", "object", "expr", "query",
    "target_list", "from_clause", "subquery", "subselect", "testexpr", "alias", "defaction",
    "initially_valid", "is_enforced", "is_local", "ctequery", "select_stmt", "table_elts",
    "rels", "exprs", "row_format", "relation_type", "sortby_dir", "sortby_nulls", "returning_clause_old",
}  # fmt: skip
# Of fields with a name, those whose presence makes another statement.
TELLING_NAMES = {"indexname", "indexspace", "tablespacename", "ofTypename"}
# Values of enumerations that say nothing was chosen.
PLAIN_VALUES = (
    "_DEFAULT", "_UNSPEC", "_NONE", "_NOT_SET", "_NOOP", "DROP_RESTRICT", "AEXPR_OP",
    "_EXPLICIT_CALL", "MaterializeDefault", "_EXPLICIT_CAST", "NO_CHECK_OPTION",
)  # fmt: skip


def shapes(sql: str) -> Iterator[str]:
    """The shape of each statement in a query string."""
    yield from map(shape, split(sql))


def shape(sql: str) -> str:
    """The shape of one statement."""
    text, end = "", 0
    for token in tokens(sql):
        gap = " " if token.start > end and text else ""
        text, end = text + gap + BLANKS.get(token.kind, token.text), token.end
    text = PARAMETER.sub("$1", NUMBER.sub("0", COMMA.sub(", ", text)))
    return _without_repetitions(SIGN.sub(r"\g<1>0", text))


def _without_repetitions(text: str) -> str:
    """Innermost parentheses first, each held back while those around it are looked at."""
    held: list[str] = []
    known: dict[str, int] = {}

    def hold(match: re.Match[str]) -> str:
        inner = f"({_once(match[0][1:-1])})"
        if inner not in known:
            known[inner] = len(held)
            held.append(inner)
        return f"\x00{known[inner]}\x00"

    while GROUP.search(text):
        text = GROUP.sub(hold, text)
    text = REPEATED.sub(r"\1", text)
    while HELD.search(text):
        text = HELD.sub(lambda match: held[int(match[1])], text)
    return text


def _once(elements: str) -> str:
    """A list in parentheses with each of its elements once; twice where all are alike."""
    found = elements.split(", ")
    different = list(dict.fromkeys(found))
    return ", ".join(
        different * min(len(found), 2) if len(different) == 1 else different
    )


def parts(sql: str) -> frozenset[str]:
    """What a statement needs of the database: clauses, functions, catalogs, types …

    Raises PgQueryError for what PostgreSQL cannot parse.
    """
    if iam := AWS_IAM.match(sql):
        return frozenset({f"AWS IAM {iam[1].upper()}"})
    plain, is_async = strip_async(sql)
    found = {"ASYNC"} if is_async else set()
    for statement in parse(plain).stmts:
        for _, node in walk(statement.stmt):
            found.update(_parts(node))
    return frozenset(found)


def _parts(node: Any) -> Iterator[str]:
    kind = type(node).__name__
    if kind in NAMED:
        yield from NAMED[kind](node)
    if kind in WHOLE:
        return
    yield kind
    for field, value in node.ListFields():
        if field.enum_type is not None:
            chosen = field.enum_type.values_by_number[value].name
            if field.name not in PLAIN_FIELDS and not chosen.endswith(PLAIN_VALUES):
                yield f"{kind} {chosen}"
        elif field.message_type is not None or field.type == field.TYPE_BOOL:
            if field.name not in PLAIN_FIELDS:
                yield f"{kind}.{field.name}"
        elif field.name in TELLING_NAMES:
            yield f"{kind}.{field.name}"


def _last_name(names: Any) -> str:
    return str(names[-1].string.sval)


def _function(node: Any) -> Iterator[str]:
    yield f"function {_last_name(node.funcname)}"


def _relation(node: Any) -> Iterator[str]:
    if node.schemaname in CATALOG_SCHEMAS and node.schemaname != "pg_catalog":
        yield f"catalog {node.schemaname}.{node.relname}"
    elif node.relname.startswith("pg_"):
        yield f"catalog {node.relname}"
    else:
        yield "table"


def _column(node: Any) -> Iterator[str]:
    array = "[]" * bool(node.type_name.array_bounds)
    yield f"column type {_last_name(node.type_name.names)}{array}"


def _cast(node: Any) -> Iterator[str]:
    array = "[]" * bool(node.type_name.array_bounds)
    yield f"cast to {_last_name(node.type_name.names)}{array}"


def _operator(node: Any) -> Iterator[str]:
    yield f"operator {_last_name(node.name)}"


def _setting(node: Any) -> Iterator[str]:
    yield f"setting {node.name.lower()}"


def _option(node: Any) -> Iterator[str]:
    yield f"option {node.defname}"


def _privilege(node: Any) -> Iterator[str]:
    yield f"privilege {node.priv_name.upper()}"


NAMED = {
    "FuncCall": _function, "RangeVar": _relation, "ColumnDef": _column, "TypeCast": _cast,
    "A_Expr": _operator, "VariableSetStmt": _setting, "VariableShowStmt": _setting,
    "DefElem": _option, "AccessPriv": _privilege,
}  # fmt: skip
# Of these the name is all that counts.
WHOLE = {
    "RangeVar",
    "TypeName",
    "TypeCast",
    "AccessPriv",
    "ColumnRef",
    "A_Const",
    "String",
    "Alias",
    "ResTarget",
    "List",
}
