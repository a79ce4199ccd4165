"""How a check of dsql_verify ends unless it passes; one that passes returns its finding."""


class CheckFailed(Exception):
    """What is wrong, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


class CheckWarning(Exception):
    """What could not be read, although nothing is known to be wrong."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


class CheckSkipped(Exception):
    """Why it could not be judged."""
