"""The shapes of the statements that clients send, collected on request."""

from ops.local.sandbox.rules.shapes import shapes

MAX_SHAPES = 5_000
MAX_TEXT = 1 << 20  # characters of a query string; rows of a longer one say nothing new


class Collector:
    """Off until it is started: taking a statement apart costs more than judging it."""

    def __init__(self) -> None:
        self._found: set[str] | None = None

    def start(self) -> None:
        """Begin anew."""
        self._found = set()

    def add(self, sql: str) -> None:
        """A query string that a client sends."""
        if self._found is None:
            return
        for shape in shapes(sql[:MAX_TEXT]):
            if len(self._found) < MAX_SHAPES:
                self._found.add(shape)

    def found(self) -> list[str]:
        return sorted(self._found or ())
