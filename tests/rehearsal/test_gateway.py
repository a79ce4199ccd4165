import gzip
from email.message import Message

import pytest

from tests.rehearsal.gateway import compressed, decompressed

BODY = b"{}" * 100
PLAIN = 200, [("ETag", '"1"')], BODY


def named(**headers: str) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return message


def test_without_compression_a_body_goes_through_as_it_is() -> None:
    packed = named(Content_Encoding="gzip")
    assert decompressed(None, packed, BODY) == (packed, BODY)
    assert compressed(None, named(Accept_Encoding="gzip"), PLAIN) == PLAIN


def test_with_compression_one_etag_stands_for_two_sequences_of_bytes() -> None:
    """Why it is off: a strong ETag names bytes (RFC 9110, section 8.8.3)."""
    status, headers, body = compressed(0, named(Accept_Encoding="gzip"), PLAIN)
    assert (status, headers) == (200, [("ETag", '"1"'), ("Content-Encoding", "gzip")])
    assert gzip.decompress(body) == BODY
    assert compressed(0, named(), PLAIN) == PLAIN


@pytest.mark.parametrize("minimum", [len(BODY) + 1, 10**6])
def test_what_is_small_is_not_compressed(minimum: int) -> None:
    assert compressed(minimum, named(Accept_Encoding="gzip"), PLAIN) == PLAIN


def test_with_compression_the_function_does_not_see_that_a_body_was_encoded() -> None:
    sent = named(Content_Encoding="gzip", Host="a")
    headers, body = decompressed(0, sent, gzip.compress(BODY))
    assert body == BODY
    assert headers.items() == [("Host", "a")]
    assert sent["Content-Encoding"] == "gzip"
