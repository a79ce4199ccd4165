"""Runs random sessions of both kinds until one differs or enough have been run."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.local.sandbox import lifecycle, messages
from ops.local.sandbox.postgres import Postgres
from tests.fuzz import rivals
from tests.fuzz import single as alone
from tests.fuzz.shrink import shrink
from tests.fuzz.talk import Plain, Sandbox

DATABASE = "fuzz_plain"
Ran = Callable[[int], None]  # called with the number of sessions so far


@dataclass(frozen=True)
class Found:
    sessions: int
    seed: int  # of the session that differs, or the last one
    difference: str = ""


def prepare(status: lifecycle.Status) -> None:
    """The tables of both kinds, and a database that only PostgreSQL's rules hold for."""
    with Postgres(status.root).connect() as superuser:
        superuser.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        superuser.execute(f"ALTER DATABASE {DATABASE} SET lock_timeout = 0")
    plain, sandbox = Plain(status, DATABASE), Sandbox(status)
    for end in (plain, sandbox):
        end.say(messages.query(alone.TABLE))
        end.close()
    sandbox = Sandbox(status)
    sandbox.say(messages.query(rivals.TABLE))
    sandbox.close()


def single(
    status: lifecycle.Status,
    seed: int,
    sessions: int,
    end: float,
    ran: Ran = lambda _: None,
) -> Found:
    ends = Sandbox(status), Plain(status, DATABASE)
    try:
        for number in range(sessions):
            ran(number)
            turns = alone.conversation(_draw(seed + number))
            if first := alone.differs(turns, ends):
                _, said = shrink(turns, lambda some: alone.differs(some, ends), first)
                return Found(number + 1, seed + number, said)
            if time.monotonic() > end:
                return Found(number + 1, seed + number)
    finally:
        for one in ends:
            one.close()
    return Found(sessions, seed + sessions - 1)


def concurrent(
    status: lifecycle.Status,
    seed: int,
    sessions: int,
    end: float,
    ran: Ran = lambda _: None,
) -> Found:
    for number in range(sessions):
        ran(number)
        steps = rivals.steps(_draw(seed + number))
        if first := rivals.differs(steps, lambda: Sandbox(status)):
            _, said = shrink(
                steps, lambda some: rivals.differs(some, lambda: Sandbox(status)), first
            )
            return Found(number + 1, seed + number, said)
        if time.monotonic() > end:
            return Found(number + 1, seed + number)
    return Found(sessions, seed + sessions - 1)


def _draw(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable, not secret
