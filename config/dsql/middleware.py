"""Middleware that repeats a request whose transaction conflicts with another one.

For projects whose views know nothing of conflicts: under ``ATOMIC_REQUESTS``, and for
views that open ``atomic()`` themselves, as the admin's do. It does for the request what
``run_transaction`` does for a block, by the same policy.
"""

import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from io import BytesIO

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import get_urlconf, set_urlconf

from .conflicts import causes
from .retry import (
    Attempts,
    ConflictRetriesExhausted,
    Effects,
    watch_effects,
)

MAX_BODY_SETTING, MAX_BODY_BYTES = "DSQL_RETRY_MAX_BODY_BYTES", 1024 * 1024
_current: ContextVar["Attempt | None"] = ContextVar("attempt", default=None)


class RetryConflicts:
    """Repeats the whole request, with all middleware below this one.

    An attempt leaves nothing behind: its transaction was rolled back, its response with
    its cookies and messages is dropped, its session is not saved, and the next attempt
    begins with the request as it came, body included. There is no other attempt after
    anything was committed or its outcome is unknown, after a hook of
    ``transaction.on_commit()`` has run, be it after a block that only read, after the
    response was returned (a stream has not begun by then), when the policy's budget or
    the time of the request is spent, and when a runner inside has spent it. Then the error
    is handled as any other.

    The body is kept in memory up to DSQL_RETRY_MAX_BODY_BYTES (1 MiB); a request with a
    larger one runs once. What an attempt does outside of DSQL it does again; give that to
    ``transaction.on_commit()``.

    Synchronous. Under ASGI Django runs it in the request's own thread, for synchronous
    and for asynchronous views.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.sleep = time.sleep
        self.max_body_bytes = getattr(settings, MAX_BODY_SETTING, MAX_BODY_BYTES)
        if type(self.max_body_bytes) is not int or self.max_body_bytes < 0:
            raise ImproperlyConfigured(
                f"{MAX_BODY_SETTING} is {self.max_body_bytes!r}; set it to a number of "
                f"bytes; the default is {MAX_BODY_BYTES}."
            )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        inside = _current.get() is not None  # the outer request repeats
        body = None if inside else read_body(request, self.max_body_bytes)
        if body is None:
            return self.get_response(request)
        original, attempts = OriginalRequest(request, body), Attempts()
        while True:
            original.restore()
            response, delay = self._attempt(request, attempts)
            if delay is None:
                return response
            self.sleep(delay)

    def _attempt(
        self, request: HttpRequest, attempts: Attempts
    ) -> tuple[HttpResponseBase, float | None]:
        """The response, and the seconds until the next attempt if there is to be one."""
        with watch_effects() as effects:
            attempt = Attempt(attempts, effects)
            mark = _current.set(attempt)
            try:
                response = self.get_response(request)
            except Error as error:  # where Django makes no responses of errors
                attempt.judge(error)
                if attempt.delay is None:
                    raise
                response = HttpResponse(status=503)
            finally:
                _current.reset(mark)
        return response, attempt.delay

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        """Let a view's error pass as a response that nobody logs and nobody sees.

        Its status keeps the session middleware from saving.
        """
        attempt = _current.get()
        if attempt is None:
            return None
        attempt.judge(error)
        return None if attempt.delay is None else HttpResponse(status=503)


class Attempt:
    """One attempt at a request, and what is to follow."""

    def __init__(self, attempts: Attempts, effects: Effects) -> None:
        self._attempts, self._effects = attempts, effects
        self._judged = False
        self.delay: float | None = None

    def judge(self, error: BaseException | None) -> None:
        """Decide by the first error that ended it whether there is another attempt."""
        if self._judged or not isinstance(error, Error):
            return
        self._judged = True
        spent = any(isinstance(e, ConflictRetriesExhausted) for e in causes(error))
        if not (spent or self._effects.committed or _in_atomic_block()):
            self.delay = self._attempts.delay_after(error)


def _in_atomic_block() -> bool:
    """Whether a block is open around the request: only its owner can repeat it."""
    return any(c.in_atomic_block for c in connections.all(initialized_only=True))


def _judge_uncaught(**_: object) -> None:
    """An error of the middleware below, such as of the session when it is saved.

    Django has made a response of it, and logged it, before this middleware sees either.
    """
    attempt = _current.get()
    if attempt is not None:
        attempt.judge(sys.exc_info()[1])


got_request_exception.connect(_judge_uncaught, dispatch_uid=__name__)


def read_body(request: HttpRequest, limit: int) -> bytes | None:
    """The whole body; None when it is longer or was read before, and then left alone."""
    state = vars(request)
    if state.get("_files"):  # middleware outside may hold them, and each is read once
        return None
    if "_body" in state:
        return request.body if len(request.body) <= limit else None
    length = str(request.META.get("CONTENT_LENGTH") or 0)
    if state.get("_read_started") or not length.isdecimal() or int(length) > limit:
        return None
    pieces, size = [], 0
    while size <= limit and (piece := request.read(limit + 1 - size)):
        pieces.append(piece)
        size += len(piece)
    if size <= limit:
        return b"".join(pieces)
    # Without CONTENT_LENGTH only ASGI has a body, and that is in a file.
    request._stream.seek(0)
    state["_read_started"] = False
    return None


class OriginalRequest:
    """A request as it came to the middleware, and the way back to that."""

    def __init__(self, request: HttpRequest, body: bytes) -> None:
        self._request, self._body = request, body
        self._attributes = dict(vars(request))
        self._meta, self._cookies = dict(request.META), dict(request.COOKIES)
        self._urlconf = get_urlconf()

    def restore(self) -> None:
        """Undo what an attempt did to it. Middleware outside keeps the same object."""
        request = self._request
        request.close()  # uploaded files
        vars(request).clear()
        vars(request).update(self._attributes)
        request.META.clear()
        request.META.update(self._meta)
        request.COOKIES = dict(self._cookies)
        stream = BytesIO(self._body)
        if "wsgi.input" in request.META:
            request.META["wsgi.input"] = stream
        vars(request).update(_stream=stream, _read_started=False)
        set_urlconf(self._urlconf)
