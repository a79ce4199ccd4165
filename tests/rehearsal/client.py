"""Requests to the deployed APIs, over the rehearsal's Internet, and events for a function."""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any

from tests.rehearsal.gateway import proxy_event
from tests.rehearsal.world import World


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(
    world: World, url: str, method: str = "GET", body: bytes | None = None,
    **headers: str,
) -> Response:  # fmt: skip
    context = ssl.create_default_context(cafile=world.internet.certificates.authority)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": world.internet.url}),
        urllib.request.HTTPSHandler(context=context),
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with opener.open(request, timeout=60) as answer:
            return Response(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.headers, error.read())


def build_event(path: str) -> dict[str, Any]:
    host = "warm.execute-api.us-east-1.amazonaws.com"
    headers = Message()
    headers["Host"] = host
    event = proxy_event("GET", host, "prod", path, "", headers, b"")
    event["headers"]["Host"] = host
    return event
