"""A time limit for Zappa, whose wait for a stack never ends in some states of a stack."""

import signal
import sys
from typing import Any

# A function in a VPC, a stack and the API's deployment together take some minutes.
STEP_SECONDS = 15 * 60


def end_after(seconds: int, text: str) -> None:
    """End the process with that text after that time, whatever it is doing.

    Replaces an earlier limit; 0 removes it.
    """

    def leave(*_: Any) -> None:
        # SystemExit is no Exception, so Zappa cannot catch it and go on.
        sys.exit(text)

    signal.signal(signal.SIGALRM, leave)
    signal.alarm(seconds)
