"""docs/one-region-lost.md does what it says: its client against a Region that is lost."""

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from ops.paths import PROJECT
from tests.checkout import free_ports
from tests.regions import region_server
from users.models import User

GUIDE = PROJECT / "docs" / "one-region-lost.md"
CLIENT, EXAMPLE = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
SECONDS = 20.0
Handle = Callable[[socket.socket], None]


def receive(client: socket.socket) -> bytes:
    """One request with its body."""
    with client.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return head + b"\r\n" + stream.read(int(length[1]) if length else 0)


def is_silent(client: socket.socket) -> None:
    receive(client)
    client.recv(1)  # until the client gives up


def is_a_bad_gateway(client: socket.socket) -> None:
    receive(client)
    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nlost")


def breaks_off(client: socket.socket) -> None:
    receive(client)
    client.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b'Content-Length: 99\r\n\r\n{"name": "Ada'
    )


@contextmanager
def listening(handle: Handle) -> Iterator[str]:
    """A Region's API that treats every connection so; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            while True:
                client, _ = server.accept()
                with client:
                    if ended.is_set():
                        return
                    handle(client)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(SECONDS)
            assert not thread.is_alive()


@contextmanager
def losing_answers() -> Iterator[str]:
    """The primary Region, which does everything and dies before it can say so."""
    with region_server("default") as url:

        def does_it_and_dies(client: socket.socket) -> None:
            request = receive(client)
            with socket.create_connection(
                ("127.0.0.1", urlsplit(url).port or 0), SECONDS
            ) as served:
                served.sendall(request)
                served.shutdown(socket.SHUT_WR)
                while served.recv(65536):
                    pass

        with listening(does_it_and_dies) as lost:
            yield lost


@contextmanager
def refusing() -> Iterator[str]:
    yield f"http://127.0.0.1:{free_ports(1)[0]}"


LOSSES = {
    "refused": refusing,
    "silent": lambda: listening(is_silent),
    "bad gateway": lambda: listening(is_a_bad_gateway),
    "broken off": lambda: listening(breaks_off),
    "answer lost": losing_answers,
}


@pytest.fixture
def guide() -> dict[str, Any]:
    """The page's client."""
    names: dict[str, Any] = {}
    exec(CLIENT, names)  # noqa: S102 - the page is what is tested
    return names


@pytest.mark.e2e
@pytest.mark.django_db(transaction=True, databases=["default", "secondary"])
@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_lost_or_doubled_when_the_first_region_is(
    loss: str, guide: dict[str, Any]
) -> None:
    ask = guide["ask"]
    with LOSSES[loss]() as lost, region_server("secondary") as served:
        if loss == "silent":  # no need to wait as long as the page does
            guide["ask"] = lambda request, seconds: ask(
                request, 0.2 if request.full_url.startswith(lost) else seconds
            )
        ada = {"name": "Ada", "email": "ada@example.com"}

        def fresh() -> Any:
            """A client that has not met the loss yet."""
            return guide["API"](lost, served)

        created = fresh().send("POST", "/users", ada)
        assert created.status == 201
        replayed = created.headers["Idempotency-Replayed"]
        assert replayed == ("true" if loss == "answer lost" else None)
        path = created.headers["Location"]
        assert fresh().send("GET", path).body["email"] == ada["email"]

        repeat = fresh().send("PATCH", path, {"name": "A"}, {"If-Match": created.headers["ETag"]})  # fmt: skip
        assert repeat.status == (412 if loss == "answer lost" else 200)
        assert fresh().send("GET", path).body["name"] == "A"
        changed = guide["change"](fresh(), path, {"name": "Ada King"})
        assert (changed.status, changed.body["name"]) == (200, "Ada King")
        assert User.objects.count() == 1

        listed = fresh().send("GET", "/users?limit=1").body["users"]
        assert [user["id"] for user in listed] == [created.body["id"]]
        gone = fresh().send("DELETE", path)
        assert gone.status == (404 if loss == "answer lost" else 204)
        assert User.objects.count() == 0


@pytest.mark.e2e
@pytest.mark.django_db(transaction=True, databases=["default", "secondary"])
def test_the_example_prints_what_the_page_says(
    guide: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-2")
    with refusing() as lost, region_server("secondary") as served:
        first, second = "http://127.0.0.1:8000", "http://127.0.0.1:8001"
        assert first in EXAMPLE
        assert second in EXAMPLE
        exec(EXAMPLE.replace(first, lost).replace(second, served), guide)  # noqa: S102 - as above
    (line,) = capsys.readouterr().out.splitlines()
    assert f"`{line}`" in GUIDE.read_text()


def test_a_region_that_failed_is_asked_last_for_a_minute(
    guide: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setitem(guide, "time", SimpleNamespace(monotonic=lambda: now[0]))
    api = guide["API"]("https://a.example", "https://b.example")
    asked: list[str] = []

    def ask(request: Any, seconds: float) -> Any:
        asked.append(request.full_url)
        if request.host == "a.example":
            raise TimeoutError
        return guide["Response"](200, http.client.HTTPMessage(), {})

    monkeypatch.setitem(guide, "ask", ask)
    for path, later in (("/1", 0), ("/2", 59), ("/3", 2)):
        now[0] += later
        api.send("GET", path)
    assert asked == [
        "https://a.example/1", "https://b.example/1", "https://b.example/2",
        "https://a.example/3", "https://b.example/3",
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["write_conflict", "rate_limited", "email_taken", ""])
def test_what_the_other_region_would_not_do_better_is_the_answer(
    guide: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = guide["Response"](503, http.client.HTTPMessage(), {"code": code})
    asked: list[str] = []

    def ask(request: Any, seconds: float) -> Any:
        asked.append(request.full_url)
        return answer

    monkeypatch.setitem(guide, "ask", ask)
    api = guide["API"]("https://a.example", "https://b.example")
    assert api.send("POST", "/users", {}) is answer
    assert len(asked) == 1


def test_when_no_region_answers_the_client_is_told_so(guide: dict[str, Any]) -> None:
    with refusing() as first, refusing() as second:
        api = guide["API"](first, second)
        with pytest.raises(guide["NoRegionAnswers"]):
            api.send("GET", "/users")
