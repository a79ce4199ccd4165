"""What the log says of a response 503: its cause in one line, the traceback now and then."""

import logging
import threading
import time
from collections.abc import Callable

from config.dsql.credentials import CredentialsUnavailable

logger = logging.getLogger(__name__)
TRACEBACK_SECONDS = 60
MAX_CAUSE = 300  # characters


class FailureLog:
    """While a database is unavailable every request fails alike: one traceback says it all."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        self._clock = clock
        self._lock = threading.Lock()
        self._shown: dict[str, float] = {}  # by code; there are few codes

    def write(self, code: str, error: BaseException) -> None:
        """One line; the traceback with it when this code has had none for a minute."""
        if isinstance(error, CredentialsUnavailable):  # its sentence says all
            logger.error("%s: %s", code, error)
            return
        shown = error if self._is_due(code) else None
        logger.error("%s: %s", code, describe_cause(error), exc_info=shown)

    def _is_due(self, code: str) -> bool:
        with self._lock:
            now = self._clock()
            if 0 <= now - self._shown.get(code, float("-inf")) < TRACEBACK_SECONDS:
                return False
            self._shown[code] = now
            return True

    def clear(self) -> None:
        with self._lock:
            self._shown.clear()


FAILURES = FailureLog()


def describe_cause(error: BaseException) -> str:
    """The first line of what the error was raised from in the end."""
    root, seen = error, {id(error)}
    while root.__cause__ is not None and id(root.__cause__) not in seen:
        root = root.__cause__
        seen.add(id(root))
    first, *_ = str(root).strip().splitlines() or [""]
    return f"{type(root).__name__}: {first}"[:MAX_CAUSE]
