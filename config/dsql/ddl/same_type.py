"""ALTER COLUMN … TYPE of raw SQL to the type that the column has: nothing is to change.

Packages write it for the collation "C", which is the only one of DSQL's.
"""

import logging
import re
from typing import Any

from .catalog import Catalog
from .sql import NAME, quote_raw_name, unquote

logger = logging.getLogger(__name__)
TYPE = (
    r"\w+(?:\s+(?!COLLATE\b|USING\b)\w+)*?(?:\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\))?"
    r"(?:\s+WITH(?:OUT)?\s+TIME\s+ZONE)?"
)
COLLATE = r'(?:\s+COLLATE\s+(?:"?pg_catalog"?\s*\.\s*)?"C")?'
# The column itself, or cast to the type.
USING = rf"(?:\s+USING\s+(?P<source>{NAME})(?:\s*::\s*(?P<cast>{TYPE}))?)?"
ACTION = (
    rf"\s*ALTER\s+(?:COLUMN\s+)?(?P<column>{NAME})\s+(?:SET\s+DATA\s+)?"
    rf"TYPE\s+(?P<type>{TYPE}){COLLATE}{USING}\s*(?=,|\Z)"
)
ALTERATION = re.compile(
    rf"\s*ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?"
    rf"(?P<table>(?:{NAME}\.)?{NAME})(?=\s)(?P<actions>.*?);?\s*",
    re.IGNORECASE | re.DOTALL,
)
ACTIONS = re.compile(ACTION, re.IGNORECASE)


def has_type(connection: Any, sql: object) -> bool:
    """Whether the statement only gives columns the types that they have."""
    if not isinstance(sql, str) or (found := ALTERATION.fullmatch(sql)) is None:
        return False
    actions = _parse(found["actions"])
    if not actions:
        return False
    catalog = Catalog(connection)
    table = ".".join(map(quote_raw_name, re.findall(NAME, found["table"])))
    columns = catalog.columns(table)
    for action in actions:
        names = {
            unquote(quote_raw_name(action[each]))
            for each in ("column", "source")
            if action[each] is not None
        }
        name = names.pop()
        types = {
            catalog.type(action[each]) for each in ("type", "cast") if action[each]
        }
        if names or name not in columns or types != {columns[name].type}:
            return False
    logger.info("The columns have these types already; not run: %s", sql)
    return True


def _parse(text: str) -> list[re.Match[str]]:
    """The actions of an ALTER TABLE; none when one of them is another."""
    actions, position = list[re.Match[str]](), 0
    while (action := ACTIONS.match(text, position)) is not None:
        actions.append(action)
        position = action.end()
        if position == len(text):
            return actions
        position += 1  # a comma
    return []
