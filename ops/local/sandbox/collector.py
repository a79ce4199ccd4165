"""The statements that clients send and their shapes, collected on request."""

from ops.local.sandbox.rules.shapes import shapes

MAX_SHAPES, MAX_STATEMENTS = 5_000, 20_000
MAX_TEXT = 1 << 20  # characters of a query string; rows of a longer one say nothing new
MAX_KEPT_TEXT = 1 << 14  # of a statement that is kept as it came


class Collector:
    """Off until it is started: taking a statement apart costs more than judging it."""

    def __init__(self) -> None:
        self._found: set[str] | None = None
        self._statements: list[str] = []

    def start(self) -> None:
        """Begin anew."""
        self._found, self._statements = set(), []

    def add(self, sql: str) -> None:
        """A query string that a client sends."""
        if self._found is None:
            return
        if len(sql) <= MAX_KEPT_TEXT and len(self._statements) < MAX_STATEMENTS:
            self._statements.append(sql)
        for shape in shapes(sql[:MAX_TEXT]):
            if len(self._found) < MAX_SHAPES:
                self._found.add(shape)

    def found(self) -> list[str]:
        return sorted(self._found or ())

    def statements(self) -> list[str]:
        """As they came, in order; long ones are left out."""
        return list(self._statements)
