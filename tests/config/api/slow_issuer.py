"""An issuer of keys whose time and failures a test decides."""

import json
import threading
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from config.api.bearer_tokens import Keys

EC, RSA = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)


def jwk(key: Any = EC, **members: Any) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name("RS256" if key is RSA else "ES256")
    public = {**json.loads(algorithm.to_jwk(key.public_key())), **members}
    return {name: value for name, value in public.items() if value is not ...}


class Issuer:
    """Sends its keys when the test says so; ``waits`` are the seconds requests waited."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.members: list[Any] = [jwk(kid="old")]
        self.error: Exception | None = None
        self.errors: list[Exception] = []  # of the next reads only
        self.open = threading.Event()
        self.open.set()
        self.began = threading.Semaphore(0)
        self.reads = 0
        self.waits: list[float] = []
        self.keys = Keys(self.fetch, clock=lambda: self.now, wait=self.wait)
        self.patience = 30.0  # instead of the waits, while the issuer answers

    def fetch(self) -> dict[str, Any]:
        self.reads += 1
        self.began.release()
        assert self.open.wait(30)
        if error := self.errors.pop(0) if self.errors else self.error:
            raise error
        return {"keys": self.members}

    def wait(self, done: threading.Event, seconds: float) -> bool:
        """As long as it takes, unless the issuer says nothing: then not at all."""
        self.waits.append(seconds)
        return done.wait(self.patience if self.open.is_set() else 0)

    def fall_silent(self) -> None:
        self.open.clear()

    def settle(self) -> None:
        """Let the reads under way end."""
        self.open.set()
        read = self.keys._read
        assert read is not None
        assert read.done.wait(30)
