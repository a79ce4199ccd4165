"""A project whose views and middleware know nothing of conflicts."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import OperationalError, transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path

from config.dsql.retry import run_transaction
from tests.config.dsql.new_users import new_user

View = Callable[[HttpRequest], HttpResponseBase]
attempts: list[dict[str, Any]] = []  # what each attempt of a view saw


class Conflict(Exception):
    sqlstate = "40001"


def lose() -> NoReturn:
    raise OperationalError("lost") from Conflict()


def add_user(request: HttpRequest) -> HttpResponse:
    """The session, a message, a cookie and a row: each once, however often it runs."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    messages.info(request, "added")
    attempts.append({
        "visits": request.session["visits"],
        "body": request.body,
        "posted": request.POST.get("name"),
        "file": [
            file.read()
            for file in request.FILES.values()
            if isinstance(file, UploadedFile)
        ],
    })  # fmt: skip
    new_user().save()
    response = JsonResponse(
        {"messages": [str(m) for m in messages.get_messages(request)]}
    )
    response.set_cookie(f"attempt{len(attempts)}", "x")
    return response


def commit_twice(request: HttpRequest) -> HttpResponse:
    attempts.append({})
    new_user().save()
    transaction.atomic(new_user().save)()
    return HttpResponse()


def run_inside(request: HttpRequest) -> HttpResponse:
    def work() -> None:
        attempts.append({})
        new_user().save()

    run_transaction(work)
    return HttpResponse()


@transaction.atomic
def catch_inside(request: HttpRequest) -> HttpResponse:
    """Goes on after a conflict, which its block cannot."""
    attempts.append({})
    if len(attempts) == 1:
        with suppress(OperationalError), transaction.atomic():
            lose()
    new_user().save()
    return HttpResponse()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    attempts.append({})

    def rows() -> Iterator[bytes]:
        yield b"first"
        transaction.atomic(new_user().save)()

    return StreamingHttpResponse(rows())


async def add_in_async_view(request: HttpRequest) -> HttpResponse:
    attempts.append({})
    await sync_to_async(transaction.atomic(new_user().save))()
    return HttpResponse()


def fail(request: HttpRequest) -> HttpResponse:
    attempts.append({})
    raise ValueError("a bug")


@transaction.non_atomic_requests
def only_session(request: HttpRequest) -> HttpResponse:
    attempts.append({})
    return HttpResponse()


class SavingMiddleware:
    """As a session in the database, saved when the view is done."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        transaction.atomic(new_user().save)()
        return response


class RespondingMiddleware:
    """Makes a response of any error of a view."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        return HttpResponse(status=409)


class OutsideMiddleware:
    """Reads the body and holds the request before and after all attempts."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.mark = "outside"  # type: ignore[attr-defined]  # as middleware does
        assert request.body == b"name=Ada"
        response = self.get_response(request)
        assert request.resolver_match is not None
        response["X-Route"] = request.resolver_match.route
        response["X-Mark"] = request.mark  # type: ignore[attr-defined]  # set above
        return response


urlpatterns = [
    path("add", add_user),
    path("atomic", transaction.atomic(add_user)),
    path("twice", transaction.non_atomic_requests(commit_twice)),
    path("inside", transaction.non_atomic_requests(run_inside)),
    path("caught", catch_inside),
    path("stream", stream),
    path("async", transaction.non_atomic_requests(add_in_async_view)),
    path("fail", fail),
    path("session", only_session),
]
