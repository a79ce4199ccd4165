"""Pauses before something that ended is started again."""

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds
STABLE_SECONDS = 10.0  # a run this long ends the series of failures


class Backoff:
    """Pauses that grow while something keeps ending soon after its start."""

    def __init__(self) -> None:
        self._failures = 0

    def pause(self, ran: float) -> float:
        """Seconds until the next start, after a run of that many seconds."""
        if ran >= STABLE_SECONDS:
            self._failures = 0
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        return pause
