"""Requests that are repeated as a whole: views here know nothing of conflicts."""

import logging
import threading
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.db import OperationalError, connection, transaction
from django.http import (
    HttpRequest,
    HttpResponse,
)
from django.test import AsyncClient, Client, RequestFactory

from config.dsql import retry
from config.dsql.base import DatabaseWrapper
from config.dsql.conflicts import OutcomeUnknown, is_conflict
from config.dsql.deadlines import within
from config.dsql.middleware import MAX_BODY_SETTING, RetryConflicts
from config.dsql.retry import ConflictRetriesExhausted, Policy
from config.dsql.signals import conflict_retried
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql import conflicting
from tests.config.dsql.conflicting import attempts, fail, lose
from tests.config.dsql.new_users import new_user
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
RETRY = "config.dsql.middleware.RetryConflicts"
SAVING, OUTSIDE, RESPONDING = (
    f"{conflicting.__name__}.{name}"
    for name in ("SavingMiddleware", "OutsideMiddleware", "RespondingMiddleware")
)


@pytest.fixture(autouse=True)
def project(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions and messages in cookies, every view in a transaction."""
    attempts.clear()
    settings.ROOT_URLCONF = conflicting.__name__
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
    settings.MIDDLEWARE = [
        RETRY,
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setattr(retry, "DEFAULT_POLICY", Policy(base_delay=0.001, budget=0.5))


def visitor() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("way", ["add", "atomic"])
def test_a_conflict_at_commit_repeats_the_request_unnoticed(
    faults: FaultClient, way: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = way == "add"
    faults.add("conflict", times=2)
    numbers: list[int] = []

    def note(attempt: int, **_: Any) -> None:
        numbers.append(attempt)

    conflict_retried.connect(note)
    with caplog.at_level(logging.WARNING):
        response = Client().post(f"/{way}", {"name": "Ada"})
    conflict_retried.disconnect(note)
    assert response.status_code == 200
    assert len(attempts) == 3
    assert numbers == [1, 2]
    assert User.objects.count() == 1
    assert caplog.records == []


def test_each_attempt_begins_with_the_request_as_it_came(faults: FaultClient) -> None:
    client = Client()
    assert client.post("/add", {"name": "Ada"}).status_code == 200
    attempts.clear()
    faults.add("conflict", times=2)
    response = client.post(
        "/add", b"name=Ada", content_type="application/x-www-form-urlencoded"
    )
    assert [(seen["visits"], seen["posted"], seen["body"]) for seen in attempts] == [
        (2, "Ada", b"name=Ada")
    ] * 3
    assert response.json() == {"messages": ["added"]}
    assert [name for name in response.cookies if name.startswith("attempt")] == [
        "attempt3"
    ]
    assert client.session["visits"] == 2


def test_an_uploaded_file_is_read_by_each_attempt(faults: FaultClient) -> None:
    faults.add("conflict", times=1)
    upload = SimpleUploadedFile("a.bin", b"\0" * 5000)
    response = Client().post("/add", {"name": "Ada", "file": upload})
    assert response.status_code == 200
    assert [(seen["posted"], seen["file"]) for seen in attempts] == [
        ("Ada", [b"\0" * 5000])
    ] * 2


def test_a_longer_body_than_may_be_kept_is_not_touched(
    faults: FaultClient, settings: Any
) -> None:
    setattr(settings, MAX_BODY_SETTING, 9)
    faults.add("conflict", times=1)
    for body, status in ((b"name=Long1", 500), (b"name=Ada1", 200)):
        response = visitor().post(
            "/add", body, content_type="application/x-www-form-urlencoded"
        )
        assert response.status_code == status
        assert attempts[-1]["body"] == body
        faults.clear()
        faults.add("conflict", times=1)
    assert len(attempts) == 3


def test_a_budget_that_is_spent_leaves_the_error_as_it_was(
    faults: FaultClient, caplog: pytest.LogCaptureFixture
) -> None:
    faults.add("conflict")
    with pytest.raises(OperationalError) as caught:
        Client().post("/add", {"name": "Ada"})
    assert is_conflict(caught.value)
    assert len(attempts) > 3
    assert [record.name for record in caplog.records].count("django.request") == 1
    assert User.objects.count() == 0


def test_time_that_is_over_ends_the_attempts(
    faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Policy(base_delay=9.0, budget=99.0, random=lambda: 1.0)
    monkeypatch.setattr(retry, "DEFAULT_POLICY", patient)
    faults.add("conflict")
    with within(8):
        assert visitor().post("/add").status_code == 500
    assert len(attempts) == 1


def test_what_was_committed_is_not_done_again(faults: FaultClient) -> None:
    faults.add("conflict", times=1)
    connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert visitor().post("/twice").status_code == 200
    faults.add("conflict", times=1)
    assert visitor().post("/twice").status_code == 200
    assert User.objects.count() == 4


@pytest.mark.parametrize("change", ["autocommit", "atomic", "many", "unknown"])
def test_a_conflict_after_a_change_is_an_error(change: str) -> None:
    def commit() -> None:
        if change == "autocommit":
            new_user().save()
        elif change == "atomic":
            transaction.atomic(new_user().save)()
        elif change == "many":
            with connection.cursor() as cursor:
                cursor.executemany("DELETE FROM users_user WHERE name = %s", [["x"]])
        else:
            raise_unknown()

    def raise_unknown() -> None:
        with pytest.raises(OutcomeUnknown):
            raise DatabaseWrapper._outcome_unknown("A change", OSError("cut"))

    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        commit()
        lose()

    with pytest.raises(OperationalError, match="lost"):
        RetryConflicts(view)(RequestFactory().post("/"))
    assert len(attempts) == 1


def test_a_middleware_below_that_responds_to_the_error_ends_the_request(
    faults: FaultClient, settings: Any
) -> None:
    """As the README says: Django shows the error to no middleware above."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, RESPONDING]
    faults.add("conflict", times=1)
    assert visitor().post("/add").status_code == 409
    assert len(attempts) == 1


def test_reads_before_a_conflict_change_nothing() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        User.objects.count()
        transaction.atomic(User.objects.count)()
        if len(attempts) < 3:
            lose()
        return HttpResponse()

    assert RetryConflicts(view)(RequestFactory().post("/")).status_code == 200
    assert len(attempts) == 3


def test_a_runner_inside_repeats_alone(faults: FaultClient) -> None:
    faults.add("conflict", times=2)
    assert Client().post("/inside").status_code == 200
    assert len(attempts) == 3
    attempts.clear()
    faults.add("conflict")
    with pytest.raises(
        ConflictRetriesExhausted, match=r"after (\d+) attempts"
    ) as caught:
        Client().post("/inside")
    assert str(len(attempts)) in str(caught.value)


def test_a_middleware_inside_another_leaves_the_repeat_to_it(
    faults: FaultClient, settings: Any
) -> None:
    settings.MIDDLEWARE = [RETRY, *settings.MIDDLEWARE]
    faults.add("conflict")
    assert visitor().post("/add").status_code == 500
    assert faults.list()[0]["struck"] == len(attempts)


def test_inside_an_open_block_only_its_owner_repeats() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        lose()

    with pytest.raises(OperationalError, match="lost"), transaction.atomic():
        RetryConflicts(view)(RequestFactory().post("/"))
    assert len(attempts) == 1


def test_a_conflict_that_a_view_goes_on_after_repeats_it() -> None:
    assert Client().post("/caught").status_code == 200
    assert len(attempts) == 2
    assert User.objects.count() == 1


def test_a_stream_is_not_repeated(faults: FaultClient) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = False
    faults.add("conflict")
    response = Client().get("/stream")
    with pytest.raises(OperationalError):
        b"".join(response)
    assert len(attempts) == 1


def test_other_errors_end_the_request(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="a bug"):
        Client().post("/fail")
    assert len(attempts) == 1
    assert [record.name for record in caplog.records] == ["django.request"]


def test_a_connection_that_was_lost_in_the_view_is_repeated_once(
    faults: FaultClient,
) -> None:
    faults.add("cut-before-statement", statement=2, times=1)
    connection.close()
    assert Client().post("/add").status_code == 200
    assert len(attempts) == 2


def test_a_conflict_of_a_middleware_below_is_repeated(
    faults: FaultClient, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SAVING]
    faults.add("conflict", times=1)
    assert visitor().get("/session").status_code == 200
    assert len(attempts) == 2
    assert User.objects.count() == 1


def test_an_error_that_django_lets_pass_is_repeated_too(
    faults: FaultClient, settings: Any
) -> None:
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    settings.MIDDLEWARE = [RETRY, SAVING]
    faults.add("conflict", times=1)
    assert visitor().get("/session").status_code == 200
    assert len(attempts) == 2


def test_middleware_outside_sees_the_request_of_the_last_attempt(
    faults: FaultClient, settings: Any
) -> None:
    settings.MIDDLEWARE = [OUTSIDE, *settings.MIDDLEWARE]
    faults.add("conflict", times=1)
    response = Client().post(
        "/add", b"name=Ada", content_type="application/x-www-form-urlencoded"
    )
    assert (response["X-Route"], response["X-Mark"]) == ("add", "outside")
    assert [seen["body"] for seen in attempts] == [b"name=Ada"] * 2


def test_a_body_that_was_read_before_is_not_guessed(faults: FaultClient) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        lose()

    streamed = RequestFactory().post("/", {"name": "Ada"})
    streamed.read(1)
    parsed = RequestFactory().post("/", {"file": SimpleUploadedFile("a", b"content")})
    upload = parsed.FILES["file"]
    assert isinstance(upload, UploadedFile)
    for request in (streamed, parsed):
        with pytest.raises(OperationalError, match="lost"):
            RetryConflicts(view)(request)
    assert len(attempts) == 2
    assert upload.read() == b"content"


@pytest.mark.parametrize("way", ["add", "async"])
def test_under_asgi_synchronous_and_asynchronous_views_are_repeated(
    faults: FaultClient, way: str
) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = way == "add"
    faults.add("conflict", times=2)
    response = async_to_sync(AsyncClient().post)(f"/{way}", {"name": "Ada"})
    assert response.status_code == 200
    assert len(attempts) == 3
    assert User.objects.count() == 1


def test_a_body_of_unknown_length_is_kept_within_the_bound(settings: Any) -> None:
    """As HTTP/2 sends it to an ASGI server, which has put it into a file."""
    from django.core.handlers.asgi import ASGIRequest

    setattr(settings, MAX_BODY_SETTING, 5)

    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({"body": request.read()})
        if len(attempts) == 1:
            lose()
        return HttpResponse()

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    RetryConflicts(view)(ASGIRequest(scope, BytesIO(b"short")))
    assert [seen["body"] for seen in attempts] == [b"short", b"short"]
    attempts.clear()
    with pytest.raises(OperationalError, match="lost"):
        RetryConflicts(view)(ASGIRequest(scope, BytesIO(b"longer")))
    assert [seen["body"] for seen in attempts] == [b"longer"]


@pytest.mark.parametrize("value", ["1 MB", None, True, 1.5, -1])
def test_a_bound_that_is_no_number_is_refused(settings: Any, value: object) -> None:
    setattr(settings, MAX_BODY_SETTING, value)
    with pytest.raises(ImproperlyConfigured, match=f"{MAX_BODY_SETTING} is {value!r}"):
        RetryConflicts(fail)


def test_requests_of_two_threads_are_attempts_of_their_own(faults: FaultClient) -> None:
    faults.add("conflict", times=4)
    responses: list[int] = []

    def visit() -> None:
        responses.append(visitor().post("/add").status_code)
        connection.close()

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert responses == [200, 200]
    assert len(attempts) == 6
    assert User.objects.count() == 2
