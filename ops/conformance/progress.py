"""What a run has seen, in a file: another run on the same cluster continues from there."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.conformance.corpus import Case, Corpus
from ops.conformance.run import new_schema
from ops.conformance.sessions import Seen
from ops.files import write_private

SAVE_SECONDS = 1.0  # between two writes of the file


class ProgressError(Exception):
    """The file cannot be continued; the text says why and what to do."""


class Progress:
    """The observations of one cluster by case and protocol, and the schema in use."""

    def __init__(self, path: Path, endpoint: str, digest: str) -> None:
        self.path, self.endpoint, self.digest = path, endpoint, digest
        self.schema = new_schema()
        self.started = f"{datetime.now(UTC):%Y-%m-%d}"
        self.version = ""
        self.first_login: dict[str, Any] = {}
        self.seen: dict[str, dict[str, list[Seen]]] = {}
        self._saved = 0.0

    @classmethod
    def open(cls, path: Path, endpoint: str, corpus: Corpus) -> "Progress":
        """What the file has of this cluster and corpus, or a new one. Raises ProgressError."""
        progress = cls(path, endpoint, corpus.digest)
        if not path.exists():
            return progress
        fields = read(path)
        progress.schema = fields["schema"]  # it is dropped first if a run was killed
        if (fields["endpoint"], fields["corpus"]) == (endpoint, corpus.digest):
            progress.started = fields["started"]
            progress.seen = parse_seen(fields)
        elif fields["endpoint"] != endpoint:
            raise ProgressError(
                f"{path} has what {fields['endpoint']} did, not {endpoint}: "
                f"name another file with --output, or delete it."
            )
        return progress

    def is_done(self, case: Case, protocol: str) -> bool:
        return protocol in self.seen.get(case.name, {})

    def add(self, case: Case, protocol: str, seen: Sequence[Seen]) -> None:
        self.seen.setdefault(case.name, {})[protocol] = list(seen)
        if time.monotonic() > self._saved + SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        self._saved = time.monotonic()
        content = {
            "endpoint": self.endpoint,
            "version": self.version,
            "first_login": self.first_login,
            "started": self.started,
            "corpus": self.digest,
            "schema": self.schema,
            "seen": {
                name: {
                    protocol: [seen.as_json() for seen in steps]
                    for protocol, steps in by_protocol.items()
                }
                for name, by_protocol in self.seen.items()
            },
        }
        write_private(self.path, json.dumps(content, indent=1))


def read(path: Path) -> dict[str, Any]:
    """The content of such a file. Raises ProgressError."""
    try:
        fields = json.loads(path.read_text())
        lacking = {"endpoint", "started", "corpus", "schema", "seen"} - fields.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise ProgressError(f"{path} cannot be read: {error}") from error
    if lacking:
        raise ProgressError(f"{path} is not of dsql_conform: no {sorted(lacking)[0]}")
    return dict(fields)


def parse_seen(fields: dict[str, Any]) -> dict[str, dict[str, list[Seen]]]:
    return {
        name: {
            protocol: [Seen.from_json(seen) for seen in steps]
            for protocol, steps in by_protocol.items()
        }
        for name, by_protocol in fields["seen"].items()
    }
