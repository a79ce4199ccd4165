"""How the catalog prints a definition: it is created for a moment and read back."""

from collections.abc import Callable
from typing import TypeVar

from .catalog import Catalog
from .runner import Runner

Seen = TypeVar("Seen")
PROBE = "dsql_probe"  # the table's name


class Probe:
    """A table that exists for a moment.

    PostgreSQL prints a definition differently from how it was written: only its own
    print of the desired one can be compared with what exists.
    """

    def __init__(self, runner: Runner, catalog: Catalog) -> None:
        self.runner, self.catalog = runner, catalog

    def read(self, look: Callable[[], Seen], *statements: str) -> Seen:
        """What ``look()`` finds in the catalog after statements that create PROBE."""
        drop = f"DROP TABLE IF EXISTS {PROBE}"
        self.runner.submit(drop)  # an interrupted run may have left it
        try:
            for text in statements:
                self.runner.submit(text)
            return look()
        finally:
            self.runner.submit(drop)

    def create_without_rows(self, table: str) -> str:
        """CREATE TABLE for PROBE with the columns of a table."""
        quote = self.runner.connection.ops.quote_name
        columns = self.catalog.columns(table).values()
        return "CREATE TABLE {} ({})".format(
            PROBE, ", ".join(f"{quote(c.name)} {c.shown}" for c in columns)
        )
