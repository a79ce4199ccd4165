"""Which part runs a statement: known by Django's template, or by the text of raw SQL."""

import logging
import re
from typing import Any

from . import sql
from .constraints import Constraints
from .indexes import Indexes
from .runner import Runner
from .tables import CreateTable, Tables

logger = logging.getLogger(__name__)


class Dispatcher:
    def __init__(
        self, runner: Runner, tables: Tables, indexes: Indexes, constraints: Constraints
    ) -> None:
        self.runner, self.tables = runner, tables
        self.indexes, self.constraints = indexes, constraints
        self._by_template = {
            sql.ADD_UNIQUE: constraints.add_unique,
            sql.ADD_FOREIGN_KEY: constraints.add,
            sql.ADD_CHECK: constraints.add,
            sql.CREATE_INDEX: indexes.add,
            sql.CREATE_UNIQUE_INDEX: indexes.add,
            sql.DROP_CONSTRAINT: constraints.drop,
        }

    def execute(self, statement: Any, params: Any) -> None:
        """Run one statement of Django's or of a migration's."""
        run = self._by_template.get(getattr(statement, "template", ""))
        if run is not None:
            run(statement)
        elif isinstance(statement, CreateTable):
            self.tables.create(statement)
        else:
            self._execute_raw(str(statement), params)

    def _execute_raw(self, text: str, params: Any) -> None:
        if match := sql.INDEX_STATEMENT.match(text):
            parts = re.findall(sql.NAME, match["table"])
            table = ".".join(map(sql.quote_raw_name, parts))
            name = sql.unquote(sql.quote_raw_name(match["name"]))
            self.indexes.build(self.runner.compose(text, params), name, table)
        elif match := sql.VALIDATION.match(text):
            validation = f"ALTER TABLE ASYNC {match['rest']}"
            self.constraints.validate_raw(self.runner.compose(validation, params))
        elif sql.EXTENSION.match(text):
            # What needs the extension will be refused; much that names one does not.
            logger.warning("DSQL has no extensions; not run: %s", text)
            self.runner.note(f"DSQL has no extensions: {text}")
        else:
            if match := sql.REMOVAL.match(text):
                self.runner.record_removal(
                    sql.unquote(sql.quote_raw_name(match["table"]))
                )
            self.runner.execute(self.runner.compose(text, params))
