"""psycopg with bounded waits: Django's backend uses it as its driver."""

import math
import os
import select
import socket
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import *  # noqa: F403 - Django looks for the driver's errors here
from psycopg import pq

from .deadlines import STEP, Allowance, Limits, NoResponse, bound_waiting

Result = TypeVar("Result")
# The connection being opened: its time, and how many addresses are left to try.
_opening: ContextVar["Opening | None"] = ContextVar("opening", default=None)
UNLIMITED = Limits()


class Opening:
    """The time left for a new connection; each of its addresses gets an equal share."""

    def __init__(self, allowance: Allowance, addresses: int) -> None:
        self.allowance, self.addresses = allowance, addresses

    def share(self) -> Allowance:
        left, parts = self.allowance.left, max(self.addresses, 1)
        self.addresses -= 1
        return Allowance(left / parts)


class BoundedConnection(psycopg.Connection[Any]):
    limits: Limits = UNLIMITED
    on_silence: Callable[[], None] | None = None

    @classmethod
    def _connect_gen(cls, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        """One attempt at one address. psycopg's own timeout is whole seconds for each."""
        attempt = super()._connect_gen(*args, **kwargs)
        opening = _opening.get()
        if opening is None:
            return (yield from attempt)
        share = opening.share()
        try:
            return (yield from bound_waiting(attempt, share))
        finally:
            opening.allowance.spent += share.spent

    def was_hung_up(self) -> bool:
        """Whether the server has closed the connection, which is idle.

        The socket is read, the server sent nothing: that costs microseconds, and a
        statement that was never sent leaves no doubt about its outcome.
        """
        if self.pgconn.status != pq.ConnStatus.OK:
            return True
        waiting = select.poll()
        waiting.register(self.pgconn.socket, select.POLLIN)
        try:
            # A last message and the end of the stream are two reads.
            for _ in range(3):
                if not waiting.poll(0):
                    return False
                self.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return bool(self.pgconn.status != pq.ConnStatus.OK)

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        allowance = self.limits.for_statement()
        if allowance is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(bound_waiting(gen, allowance), *args, **kwargs)
        except NoResponse:
            self.close()
            if self.on_silence is not None:
                self.on_silence()
            raise


connect = BoundedConnection.connect  # what Django calls


def open_within(
    allowance: Allowance,
    params: dict[str, Any],
    opener: Callable[[dict[str, Any]], Any],
) -> Any:
    """Open a connection within the allowance, name lookup and every address included.

    Raises NoResponse, or the last address's psycopg.OperationalError.
    """
    addresses = params.get("hostaddr") or os.environ.get("PGHOSTADDR")
    if not addresses:
        found = _addresses(params["host"], allowance)
        addresses = ",".join(found)
        params = {**params, "host": ",".join([params["host"]] * len(found))}
        params["hostaddr"] = addresses
    opening = Opening(allowance, addresses.count(",") + 1)
    mark = _opening.set(opening)
    try:
        return opener(params)
    finally:
        _opening.reset(mark)


def _addresses(host: str, allowance: Allowance) -> list[str]:
    """Every address of the name, in the system's order of preference."""
    try:
        found = call_within(
            allowance, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        raise psycopg.OperationalError(
            f"failed to resolve host {host!r}: {error}"
        ) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def call_within(allowance: Allowance, work: Callable[[], Result]) -> Result:
    """Call ``work``, which has no timeout of its own, within the allowance.

    Raises what it raises, or NoResponse when it takes longer; its thread then runs on.
    """
    if allowance.seconds == math.inf:
        return work()
    ended: list[Result] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            ended.append(work())
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            failed.append(error)

    # Log lines of the thread belong to the request that waits for it.
    thread = threading.Thread(
        target=copy_context().run, args=(run,), daemon=True, name="dsql-lookup"
    )
    try:
        thread.start()
    except RuntimeError:  # no more threads: without a limit is better than not at all
        return work()
    while thread.is_alive() and allowance.left > 0:
        before = monotonic()
        thread.join(min(STEP, allowance.left))
        allowance.spend(monotonic() - before)
    if failed:
        raise failed[0]
    if not ended:
        raise NoResponse(f"No response of the system in {allowance.seconds:.1f} s.")
    return ended[0]
