"""How long to wait before something that ended is started again."""

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds
CALM_SECONDS = 10.0  # a life that ends the row of failures


class Backoff:
    """Longer pauses the more often something ends soon after its start."""

    def __init__(self) -> None:
        self._failures = 0

    def pause(self, lived: float) -> float:
        """Seconds until the next start of what has just ended after so many seconds."""
        if lived >= CALM_SECONDS:
            self._failures = 0
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        return pause
