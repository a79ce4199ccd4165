"""A document of an issuer that speaks slowly, wrongly or not at all."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from config.api import fetching
from config.api.fetching import Deadline, read_json

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def server(first: bytes, drip: bytes = b"") -> Iterator[str]:
    """Sends ``first``, and then ``drip`` again and again until the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(first)
            while drip and not stopped.wait(0.01):
                try:
                    connection.sendall(drip)
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
    finally:
        stopped.set()
        thread.join()
        listener.close()


def whole(content: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(content) + content


def test_a_document_is_read() -> None:
    with server(whole(b'{"keys": []}')) as url:
        assert read_json(url) == {"keys": []}
    chunked = HEAD + b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n'
    with server(chunked) as url:
        assert read_json(url) == {"a": 1}


@pytest.mark.parametrize(
    ("first", "drip"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
     (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"), (b"HTTP/1.1 100 Continue\r\n\r\n", b"H"),
     (HEAD + b"Content-Length: 200000\r\n\r\n", b" "), (HEAD + b"\r\n", b" "),
     (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")],
)  # fmt: skip
def test_whoever_drips_has_the_same_deadline_for_all_of_it(
    first: bytes, drip: bytes
) -> None:
    """Every byte comes in time; without a deadline for all this would not end for hours."""
    with (
        server(first, drip) as url,
        pytest.raises((OSError, http.client.HTTPException)),
    ):
        read_json(url, Deadline(0.3))


def test_a_deadline_that_is_over_begins_nothing() -> None:
    with pytest.raises(TimeoutError):
        read_json("http://127.0.0.1:9/keys", Deadline(-1))


def test_the_next_address_is_tried() -> None:
    with server(whole(b"{}")) as url:
        # localhost may be ::1 first, where nothing listens.
        assert read_json(url.replace("127.0.0.1", "localhost")) == {}


@pytest.mark.parametrize(
    ("answer", "said"),
    [(whole(b"[]"), "not a JSON object"), (whole(b"{"), "Expecting"),
     (whole(b" " * (fetching.MAX_DOCUMENT_BYTES + 1)), "larger than"),
     (whole(b"{}", b"HTTP/1.1 500 X\r\n"), "returned status 500"),
     (whole(b"{}", b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:9/\r\n"), "status 302")],
)  # fmt: skip
def test_what_is_no_document_is_refused(answer: bytes, said: str) -> None:
    with server(answer) as url, pytest.raises(ValueError, match=said):
        read_json(url)


def test_a_certificate_is_demanded_for_https() -> None:
    with server(whole(b"{}")) as url, pytest.raises(ssl.SSLError):
        read_json(url.replace("http:", "https:"))
