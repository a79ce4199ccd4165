import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from config.dsql import credentials
from ops.conformance.sessions import Address
from ops.local.sandbox import lifecycle
from ops.local.sandbox.rules.assumptions import ASSUMPTIONS


class Conform:
    """Runs the command, with its file in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "seen.json"
        self.progress = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Standard output; fails unless the command ends with that exit code."""
        out, err = io.StringIO(), io.StringIO()
        command = ["dsql_conform", "--yes", "--output", str(self.file), *arguments]
        ended = 0
        try:
            call_command(*command, stdout=out, stderr=err)
        except SystemExit as error:
            ended = int(error.code or 0)
        finally:
            self.progress = err.getvalue()
        assert ended == code, out.getvalue()
        return out.getvalue()

    def fail(self, *arguments: str) -> str:
        with pytest.raises(CommandError) as caught:
            self(*arguments)
        return str(caught.value)


@pytest.fixture
def conform(sandbox: lifecycle.Status, tmp_path: Path) -> Conform:
    return Conform(tmp_path)


@pytest.fixture
def address(sandbox: lifecycle.Status) -> Address:
    return Address(sandbox.regions[0].endpoint, sandbox.regions[0].region)


@pytest.fixture
def altered(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lifecycle.Status]:
    """A sandbox that behaves otherwise wherever it can be made to."""
    root = tmp_path_factory.mktemp("altered")
    try:
        status = lifecycle.up(root, durable=False, job_delay=0.01, assume=ASSUMPTIONS)
        for name, value in status.environ().items():
            monkeypatch.setenv(name, value)
        credentials._session.cache_clear()  # it has the other sandbox's credentials
        yield status
    finally:
        credentials._session.cache_clear()
        lifecycle.reset(root)
