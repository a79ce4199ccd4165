"""An end for what Zappa does: its wait for a stack has none in some of a stack's states."""

import signal
import sys
from typing import Any

# A function in a VPC, a stack and the API's deployment together take some minutes.
STEP_SECONDS = 15 * 60


def end_after(seconds: int, text: str) -> None:
    """Leave the process with that text after so long, wherever it is by then.

    Takes the place of the limit before; 0 ends it.
    """

    def leave(*_: Any) -> None:
        # No Exception: whatever Zappa catches on the way, it does not go on.
        sys.exit(text)

    signal.signal(signal.SIGALRM, leave)
    signal.alarm(seconds)
