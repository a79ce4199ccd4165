"""How long is waited, by a clock that tests move."""

import math
from collections.abc import Generator, Iterator

import pytest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.test import RequestFactory

from config.dsql import deadlines, driver
from config.dsql.deadlines import (
    Allowance,
    Limits,
    NoResponse,
    OutOfTime,
    RequestDeadline,
    bound_waiting,
    within,
)

NOTHING, DATA = 0, 1  # what a wait tells: nobody, or something came


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])
    monkeypatch.setattr(driver, "monotonic", lambda: now[0])
    return now


def wait(
    clock: list[float], allowance: Allowance, steps: list[tuple[float, int]], needs: int
) -> str:
    """Let so many seconds pass in each step, for an answer of so many pieces."""

    def answer() -> Generator[str, int, str]:
        pieces = 0
        while pieces < needs:
            pieces += yield "read"
        return "answer"

    waiting = bound_waiting(answer(), allowance)
    next(waiting)
    for seconds, ready in steps:
        clock[0] += seconds
        try:
            waiting.send(ready)
        except StopIteration as end:
            return str(end.value)
    return "still waiting"


def test_an_answer_in_time_is_the_answer(clock: list[float]) -> None:
    steps = [(0.1, NOTHING)] * 79 + [(0.05, DATA)]
    assert wait(clock, Allowance(8), steps, 1) == "answer"


def test_silence_ends_when_the_allowance_is_spent(clock: list[float]) -> None:
    with pytest.raises(NoResponse, match=r"in 8\.0 s"):
        wait(clock, Allowance(8), [(0.1, NOTHING)] * 82, 1)
    assert 1008 <= clock[0] < 1008.3


def test_an_answer_that_drips_ends_too(clock: list[float]) -> None:
    with pytest.raises(NoResponse):
        wait(clock, Allowance(8), [(0.9, DATA)] * 20, 100)
    assert clock[0] < 1009


def test_outside_of_a_request_a_result_may_last_while_it_keeps_coming(
    clock: list[float],
) -> None:
    steps = [(0.9, DATA)] * 50
    assert wait(clock, Allowance(8, renewed=True), steps, 50) == "answer"
    with pytest.raises(NoResponse):
        wait(
            clock, Allowance(8, renewed=True), [(0.9, DATA), *[(0.5, NOTHING)] * 17], 9
        )


def test_time_in_which_the_process_was_frozen_is_not_the_servers(
    clock: list[float],
) -> None:
    steps = [(0.1, NOTHING), (3600.0, NOTHING), (0.1, DATA), (0.1, DATA)]
    with within(25):
        assert wait(clock, Allowance(8), steps, 2) == "answer"
        assert deadlines.time_left() > 20


def test_what_came_while_the_process_was_frozen_is_read(clock: list[float]) -> None:
    steps = [(0.1, NOTHING)] * 5 + [(3600.0, DATA)]
    assert wait(clock, Allowance(1), steps, 1) == "answer"


def test_works_inside_works_end_with_the_first(clock: list[float]) -> None:
    assert deadlines.time_left() == math.inf
    with within(10):
        clock[0] += 4
        with within(20):
            assert deadlines.time_left() == 6
        with within(2):
            assert deadlines.time_left() == 2
        clock[0] += 7
        with pytest.raises(OutOfTime, match="was not sent"):
            deadlines.require_time()
    deadlines.require_time()


def test_a_requests_time_is_one_for_all_works_inside_it(clock: list[float]) -> None:
    limits = Limits(statement=8, request=25)

    def serve(request: HttpRequest) -> HttpResponse:
        for seconds in (20, 5):
            with within(math.inf, step=3):
                assert limits.for_statement() == Allowance(3)
                clock[0] += seconds
        with within(math.inf, step=3), pytest.raises(OutOfTime):
            deadlines.require_time()
        return HttpResponse()

    RequestDeadline(serve)(RequestFactory().get("/"))


@pytest.mark.django_db
@pytest.mark.parametrize("streaming", [False, True])
def test_a_request_has_its_own_time_until_its_response_is_ready_or_closed(
    clock: list[float], streaming: bool
) -> None:
    limits = Limits(statement=8, login=3, request=25)
    seen: list[float] = []

    def look() -> Iterator[bytes]:
        clock[0] += 20
        allowance = limits.for_statement()
        assert allowance is not None
        seen.extend((allowance.seconds, limits.for_connection().seconds))
        yield b""

    def view(request: HttpRequest) -> HttpResponseBase:
        return StreamingHttpResponse(look()) if streaming else HttpResponse(look())

    response = RequestDeadline(view)(RequestFactory().get("/"))
    if streaming:
        list(response)
        assert deadlines.time_left() == 5
        response.close()
    assert seen == [5, 3]
    assert deadlines.time_left() == math.inf


def test_a_request_that_fails_leaves_no_time_behind() -> None:
    def view(request: HttpRequest) -> HttpResponseBase:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        RequestDeadline(view)(RequestFactory().get("/"))
    assert deadlines._current.get() is None


def test_changes_of_the_schema_have_no_limit(clock: list[float]) -> None:
    limits = Limits(statement=8)
    limits.migrating = True
    assert limits.for_statement() is None
    limits.migrating, limits.suspended = False, 1
    assert limits.for_statement() is None
