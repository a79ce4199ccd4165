"""AWS credentials: read here where that is simple, else found by botocore.

Lambda puts a function's keys into its environment, and under SnapStart names an address of
its own to get them from. Everywhere else (profiles, SSO, roles of other services) botocore
knows the ways, and is imported for them only: it costs 70 ms.
"""

import json
import os
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from time import monotonic, time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.db import OperationalError

from .deadlines import time_left

MAX_CAUSE = 300  # characters of a source's error
RENEW_BEFORE = 300  # seconds left at which credentials are fetched anew
FETCH_SECONDS = 2.0  # for all of a fetch
MAX_BYTES = 64 * 1024
# Where botocore takes credentials over plain HTTP from; others are left to botocore.
CONTAINER_HOSTS = {
    "localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23",
}  # fmt: skip
# What keys and tokens are made of, and all that can be signed with.
KEY = re.compile(r"[!-~]+")
STATUS = re.compile(rb"HTTP/1\.[0-9] [0-9]{3}(?![^ \r])")
ADDRESS = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
AUTHORIZATION = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
# What botocore reads before a container's address or token or asks before the container,
# by variable (some even if empty) and by the default of a file.
EARLIER = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_DEFAULT_PROFILE", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
)  # fmt: skip
FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}


class CredentialsUnavailable(OperationalError):
    """No token can be signed: one sentence that says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Named as botocore's; ``expires`` is in seconds since 1970."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: float = float("inf")


def find_credentials(environ: Mapping[str, str] = os.environ) -> Credentials:
    """The process's AWS credentials as they are now.

    Raises CredentialsUnavailable, whatever the source failed with.
    """
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return Credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_SECURITY_TOKEN")
            or environ.get("AWS_SESSION_TOKEN")
            or None,
        )
    try:
        if address := _find_container(environ):
            return CONTAINER.get(address, environ.get(AUTHORIZATION, ""))
        found = _ask_botocore()
    # Each source raises what it meets: BotoCoreError, ClientError of STS, OSError of a
    # token's file, ValueError of a program's output, RuntimeError of an expired refresh.
    except Exception as error:
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise CredentialsUnavailable(
            f"The AWS credentials to sign a DSQL token with cannot be had: "
            f"{cause[:MAX_CAUSE]}; sign in again (`aws sso login`) or correct their source."
        ) from error
    if found is None:
        raise CredentialsUnavailable(
            "No AWS credentials to sign a DSQL token with: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run with an IAM role."
        )
    return found


class Container:
    """Credentials from the address that Lambda names under SnapStart, kept while they last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[SplitResult, Credentials] | None = None

    def get(self, address: SplitResult, authorization: str) -> Credentials:
        """Raises OSError and ValueError."""
        with self._lock:  # who comes meanwhile gets the same
            kept = self._kept if self._kept and self._kept[0] == address else None
            if kept and kept[1].expires - time() > RENEW_BEFORE:
                return kept[1]
            try:
                found = _parse(
                    fetch(address, authorization, min(FETCH_SECONDS, time_left()))
                )
            except (OSError, ValueError):
                if kept and kept[1].expires > time():
                    return kept[1]
                raise
            self._kept = address, found
            return found

    def clear(self) -> None:
        self._kept = None


CONTAINER = Container()


def fetch(address: SplitResult, authorization: str, seconds: float) -> bytes:
    """The body of a response 200 over HTTP, within so many seconds in all.

    HTTP/1.0, so that the body comes in one piece and the connection ends with it. Raises
    OSError and ValueError.
    """
    deadline = monotonic() + seconds
    path = f"{address.path or '/'}{'?' * bool(address.query)}{address.query}"
    lines = [
        f"GET {path} HTTP/1.0",
        f"Host: {address.netloc}",
        "Accept: application/json",
    ]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    if any(set(line) & {"\r", "\n"} for line in lines):
        raise ValueError("the container's address or token has a line break")
    received = b""
    server = (address.hostname or "", address.port or 80)
    with socket.create_connection(server, seconds) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        while len(received) <= MAX_BYTES:
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise TimeoutError(f"no whole response within {seconds:.1f} s")
            connection.settimeout(remaining)
            part = connection.recv(MAX_BYTES)
            if not part:
                break
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    if len(received) > MAX_BYTES:
        raise ValueError(
            f"the container's endpoint responded with more than {MAX_BYTES} bytes"
        )
    status = STATUS.match(head)  # the rest of the head may hold anything
    if status is None:
        raise ValueError("the container's endpoint responded without an HTTP status")
    if not status[0].endswith(b" 200"):
        raise ValueError(f"the container's endpoint responded {status[0]!r}")
    return body


def _parse(body: bytes) -> Credentials:
    """AWS SDKs and tools reference guide, "Container credential provider".

    Raises ValueError, which holds nothing of the body: secrets may stand anywhere in it.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("the container's credentials are nested too deeply") from None
    found = document if isinstance(document, dict) else {}
    for name in ("Expiration", "AccessKeyId", "SecretAccessKey", "Token"):
        if name not in found:
            raise ValueError(f"the container's credentials lack {name!r}")
    expires = _parse_moment(found["Expiration"])
    if expires <= time():
        raise ValueError("the container's credentials are expired")
    key, secret, token = (found[n] for n in ("AccessKeyId", "SecretAccessKey", "Token"))
    _check_keys(key, secret, token)
    return Credentials(key, secret, token, expires)


def _check_keys(*keys: object) -> None:
    """Raises ValueError, without what was found."""
    if not all(isinstance(key, str) and KEY.fullmatch(key) for key in keys):
        raise ValueError(
            "AccessKeyId, SecretAccessKey or the session token is no text of printable "
            "ASCII characters"
        )


def _parse_moment(value: object) -> float:
    """Seconds since 1970; without an offset from UTC it would depend on the machine."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            "Expiration of the container's credentials is no moment with an offset from "
            "UTC (Invalid isoformat string)"
        )
    return moment.timestamp()


def _find_container(environ: Mapping[str, str]) -> SplitResult | None:
    """The container's address, if botocore would ask nobody before it."""
    address = urlsplit(environ.get(ADDRESS, ""))
    is_simple = address.scheme == "http" and address.hostname in CONTAINER_HOSTS
    if not is_simple or any(name in environ for name in EARLIER):
        return None
    files = (Path(environ.get(k) or v).expanduser() for k, v in FILES.items())
    return None if any(file.exists() for file in files) else address


_loading = threading.Lock()


@cache
def _session() -> Any:
    from botocore.session import Session

    return Session()


def _ask_botocore() -> Credentials | None:
    """Whatever botocore finds, refreshed by it when due."""
    with _loading:  # a session is no thread's own, and finds its credentials only once
        found = _session().get_credentials()
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    if not (frozen.access_key and frozen.secret_key):
        return None
    token = frozen.token or None
    # A program's output may have anything there.
    _check_keys(frozen.access_key, frozen.secret_key, *([token] if token else []))
    return Credentials(frozen.access_key, frozen.secret_key, token)
