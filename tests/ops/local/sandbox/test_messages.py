import pytest

from ops.local.sandbox import messages
from ops.local.sandbox.messages import Framer, OversizedMessageError

STREAM = [
    messages.query("SELECT 1"),
    messages.message(b"S"),
    messages.error("23505", "duplicate", detail="Key (a)=(ä).", hint="Choose another."),
    messages.ready("T"),
]


@pytest.mark.parametrize("cut", range(len(b"".join(STREAM)) + 1))
def test_a_stream_cut_anywhere_gives_the_same_messages(cut: int) -> None:
    framer, data = Framer(), b"".join(STREAM)
    found = [*framer.feed(data[:cut]), *framer.feed(data[cut:])]
    assert found == [(whole[0], whole) for whole in STREAM]


def test_a_stream_byte_by_byte_gives_the_same_messages() -> None:
    framer = Framer()
    found = [m for byte in b"".join(STREAM) for m in framer.feed(bytes([byte]))]
    assert found == [(whole[0], whole) for whole in STREAM]


def test_the_limit_counts_the_length_field_and_admits_its_own_value() -> None:
    framer = Framer(limit=10)
    assert list(framer.feed(messages.message(b"Q", b"x" * 6)))
    with pytest.raises(OversizedMessageError):
        list(framer.feed(messages.message(b"Q", b"x" * 7)))


@pytest.mark.parametrize("length", [0, 3, messages.MAX_MESSAGE + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_before_its_bytes_arrive(length: int) -> None:
    framer = Framer(messages.MAX_MESSAGE)
    with pytest.raises(OversizedMessageError):
        list(framer.feed(b"Q" + length.to_bytes(4, "big")))


def test_what_came_before_an_oversized_message_is_not_lost() -> None:
    cut = Framer(100).feed(STREAM[0] + b"Q\xff\xff\xff\xff")
    assert next(cut) == (b"Q"[0], STREAM[0])
    with pytest.raises(OversizedMessageError):
        next(cut)


def test_an_error_says_its_fields_and_leaves_empty_ones_out() -> None:
    assert messages.error_fields(STREAM[2]) == {
        "S": "ERROR",
        "V": "ERROR",
        "C": "23505",
        "M": "duplicate",
        "D": "Key (a)=(ä).",
        "H": "Choose another.",
    }
    assert set(messages.error_fields(messages.error("X", "text"))) == set("SVCM")


def test_startup_parameters_survive_the_wire_and_garbage_is_text() -> None:
    sent = {"user": "admin", "database": "postgres", "options": "-c a=ü"}
    whole = messages.startup(sent)
    assert int.from_bytes(whole[:4], "big") == len(whole)
    assert messages.startup_parameters(whole[8:]) == sent
    assert messages.startup_parameters(b"user\0\xff\0\0") == {"user": "\ufffd"}


def test_a_text_row_is_as_long_as_it_says() -> None:
    row = messages.text_row("ä")
    assert row == b"D\x00\x00\x00\x0c\x00\x01\x00\x00\x00\x02\xc3\xa4"
    assert messages.text_column("job_id").startswith(
        b"T\x00\x00\x00\x1f\x00\x01job_id\0"
    )
