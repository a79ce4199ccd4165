"""Users to try the API with: five with names, then numbered ones."""

import json
from collections.abc import Iterator

SAMPLE = [
    {"name": "Ada Lovelace", "email": "ada@example.com"},
    {"name": "Alan Turing", "email": "alan@example.com"},
    {"name": "Edsger Dijkstra", "email": "edsger@example.com"},
    {"name": "Grace Hopper", "email": "grace@example.com"},
    {"name": "Katherine Johnson", "email": "katherine@example.com"},
]


def sample_lines(count: int) -> Iterator[bytes]:
    """As an import takes them; the same at every call."""
    for number in range(count):
        name, email = f"User {number + 1:07}", f"user{number + 1:07}@example.com"
        user = (
            SAMPLE[number] if number < len(SAMPLE) else {"name": name, "email": email}
        )
        yield json.dumps(user).encode()
