"""Client tokens of the ``dsql`` API: the same token and request give the first response."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from ops.local.sandbox.api_model import ApiError

TOKEN_SECONDS = 24 * 3600.0
Params = dict[str, Any]
Response = dict[str, Any]


class ClientTokens:
    """The responses to requests with a token, as long as tokens are remembered.

    ``entries`` is their JSON: what another process goes on with.
    """

    def __init__(
        self, entries: dict[str, dict[str, Any]], clock: Callable[[], float]
    ) -> None:
        self.entries, self._clock = entries, clock

    def find(self, operation: str, params: Params, region: str) -> Response | None:
        """The response to the same request earlier. Raises ApiError if that one differed."""
        entry = self.entries.get(_build_name(operation, params, region))
        if entry is None or "clientToken" not in params or self._is_old(entry):
            return None
        if entry["request"] != _digest(params):
            raise ApiError(
                "ConflictException",
                "The client token was used for a request with other parameters.",
            )
        response: Response = entry["response"]
        return response

    def remember(
        self, operation: str, params: Params, region: str, response: Response
    ) -> Response:
        current = {n: e for n, e in self.entries.items() if not self._is_old(e)}
        self.entries = current | {
            _build_name(operation, params, region): {
                "request": _digest(params), "response": response, "at": self._clock(),
            }
        }  # fmt: skip
        return response

    def _is_old(self, entry: dict[str, Any]) -> bool:
        return bool(self._clock() - entry["at"] >= TOKEN_SECONDS)


def _build_name(operation: str, params: Params, region: str) -> str:
    return f"{region}/{operation}/{params.get('clientToken', '')}"


def _digest(params: Params) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
