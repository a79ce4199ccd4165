"""Moments exactly as RFC 3339, section 5.6, writes them."""

import re
from datetime import UTC, datetime, timedelta

MAX_CHARACTERS = 64  # of which most are digits of a fraction
TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
# Python's own parser takes much of ISO 8601 besides: weeks, the basic form, commas.
PATTERN = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[Tt]({TIME}):([0-5][0-9]|60)(?:\.([0-9]+))?"
    rf"([Zz]|[+-]{TIME})"
)
SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)


def parse(text: str) -> datetime | None:
    """In UTC, because PostgreSQL takes no offset of 16 hours and more; None when malformed.

    A fraction of a microsecond counts as a whole one, so that "then or later" and "before"
    are true of what is stored in microseconds. A leap second is the one after it.
    """
    match = PATTERN.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        return None
    day, time, second, fraction, offset = match.groups()
    leaps = second == "60"
    zone = "+00:00" if offset in "Zz" else offset
    try:
        moment = datetime.fromisoformat(
            f"{day}T{time}:{'59' if leaps else second}{zone}"
        )
        moment = moment.astimezone(UTC)
        if leaps:
            moment += SECOND
            if (moment.day, moment.hour, moment.minute) != (1, 0, 0):
                return None  # they end a month (RFC 3339, section 5.7)
        return moment + _microseconds(fraction or "")
    except (ValueError, OverflowError):
        return None


def _microseconds(fraction: str) -> timedelta:
    whole, rest = fraction[:6].ljust(6, "0"), fraction[6:]
    return TICK * (int(whole) + (rest.strip("0") != ""))
