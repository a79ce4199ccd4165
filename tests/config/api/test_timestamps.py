"""RFC 3339, section 5.6, and nothing else."""

from datetime import UTC, datetime

import pytest

from config.api import timestamps

NINE = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T09:30:00Z", NINE),
        ("2026-11-24t09:30:00z", NINE),
        ("2026-11-24T09:30:00+00:00", NINE),
        ("2026-11-24T09:30:00-00:00", NINE),
        ("2026-11-24T15:00:00+05:30", NINE),
        ("2026-11-23T10:31:00-22:59", NINE),
        ("2026-11-24T09:30:00.5Z", NINE.replace(microsecond=500_000)),
        ("2026-11-24T09:30:00.000001Z", NINE.replace(microsecond=1)),
        ("2026-11-24T09:30:00.0000010000Z", NINE.replace(microsecond=1)),
        # Up to the next microsecond: nothing is stored in between.
        ("2026-11-24T09:30:00.0000001Z", NINE.replace(microsecond=1)),
        ("2026-11-24T09:29:59.9999999Z", NINE),
        # The examples of section 5.8.
        ("1990-12-31T23:59:60Z", datetime(1991, 1, 1, tzinfo=UTC)),
        ("1990-12-31T15:59:60-08:00", datetime(1991, 1, 1, tzinfo=UTC)),
        ("2000-02-29T00:00:00Z", datetime(2000, 2, 29, tzinfo=UTC)),
    ],
)
def test_what_the_rfc_writes_is_read(text: str, moment: datetime) -> None:
    assert timestamps.parse(text) == moment
    assert timestamps.parse(text).tzinfo is UTC  # type: ignore[union-attr] # it is one


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-24", "2026-11-24T09:30:00", "2026-11-24T09:30Z", "2026-11-24T09Z",
     "20261124T093000Z", "2026-W48-2T09:30:00Z", "2026-W48T09:30:00Z", "2026-328T09:30:00Z",
     "2026-11-24T09:30:00,5Z", "2026-11-24T09:30:00.Z", "2026-11-24 09:30:00Z",
     "2026-11-24_09:30:00Z", "2026-11-24T24:00:00Z", "2026-11-24T09:60:00Z",
     "2026-11-24T09:30:61Z", "2026-11-24T09:30:60Z", "2026-11-24T23:59:60Z",
     "2026-11-30T23:59:60+01:00", "2026-11-24T09:30:00+0000", "2026-11-24T09:30:00+00",
     "2026-11-24T09:30:00+00:00:00", "2026-11-24T09:30:00+24:00", "2026-11-24T09:30:00+00:60",
     "2026-11-24T09:30:00 00:00", "2026-11-24T09:30:00UTC", "2026-02-29T00:00:00Z",
     "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01",
     "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59.9999999Z",
     "+2026-11-24T09:30:00Z", "12026-11-24T09:30:00Z", "2026-11-24T09:30:00Z\n",
     " 2026-11-24T09:30:00Z", "\u0662\u0660\u0662\u0666-11-24T09:30:00Z",
     "2026-11-24T09:30:00\u2212" + "01:00", "2026-11-24T09:30:00." + "0" * 60 + "Z"],
)  # fmt: skip
def test_what_it_does_not_write_is_refused(text: str) -> None:
    assert timestamps.parse(text) is None
