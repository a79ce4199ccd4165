"""What is counted. Django is set up before this is imported."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.test import Client

from config.dsql.ddl.runner import Runner
from ops.deploy import callbacks
from ops.deploy.runtime import NO_BYTECODE
from tests.crossings.counting import Scenario
from tests.ops import account
from tests.ops.clusters import shell
from tests.ops.deploy.cli import Cli

Work = Callable[[], object]
NUMBERS = count()
TABLE = "crossings_item"
JOB_SECONDS = 1.0  # in which the sandbox ends a job


def post(**headers: str) -> str:
    """The id of the user that it creates."""
    response = Client().post(
        "/users",
        json.dumps({"name": "Ada", "email": f"ada{next(NUMBERS)}@example.com"}),
        content_type="application/json",
        headers=headers,
    )
    require(response.status_code, 201)
    return str(response.json()["id"])


def get(path: str) -> None:
    require(Client().get(path).status_code, 200)


def require(status: int, expected: int) -> None:
    if status != expected:
        raise RuntimeError(f"The API responded with {status} instead of {expected}.")


@contextmanager
def create() -> Iterator[Work]:
    yield post


@contextmanager
def create_with_key() -> Iterator[Work]:
    yield lambda: post(**{"Idempotency-Key": f"key-{next(NUMBERS)}"})


@contextmanager
def get_one() -> Iterator[Work]:
    user = post()
    yield lambda: get(f"/users/{user}")


@contextmanager
def list_users() -> Iterator[Work]:
    post()
    yield lambda: get("/users")


@contextmanager
def alter_int_to_text() -> Iterator[Work]:
    """A column that is NOT NULL, in a table with rows."""
    before, after = item(models.IntegerField()), item(models.TextField())
    with connection.schema_editor() as editor:
        editor.create_model(before)
    for size in range(3):
        before.objects.create(size=size)

    def submit(runner: Runner, text: str) -> str | None:
        """The job has ended when it is looked at: each look would count."""
        job = send(runner, text)
        if job is not None:
            time.sleep(JOB_SECONDS)
        return job

    send = Runner.submit

    def alter() -> None:
        with (
            mock.patch.object(Runner, "submit", submit),
            connection.schema_editor() as editor,
        ):
            editor.alter_field(
                before, before._meta.get_field("size"), after._meta.get_field("size")
            )

    yield alter
    with connection.schema_editor() as editor:
        editor.delete_model(after)


def item(size: Any) -> Any:
    meta = type("Meta", (), {"app_label": "crossings", "db_table": TABLE})
    body = {"size": size, "Meta": meta, "__module__": __name__}
    return type(f"Item{next(NUMBERS)}", (models.Model,), body)


@contextmanager
def provision() -> Iterator[Work]:
    """Both clusters, from nothing."""
    with (
        TemporaryDirectory() as directory,
        pytest.MonkeyPatch.context() as patch,
        shell.opened(patch, Path(directory)),
    ):
        yield lambda: call_command(
            "dsql_provision", stdout=io.StringIO(), stderr=io.StringIO()
        )


@contextmanager
def settings_callback() -> Iterator[Work]:
    """Before an update of a deployment that exists."""
    with (
        TemporaryDirectory() as directory,
        pytest.MonkeyPatch.context() as patch,
        account.opened(patch, Path(directory)) as found,
        redirect_stdout(io.StringIO()),
    ):
        patch.setenv(NO_BYTECODE, "1")  # whichever Python runs this
        found.deploy()
        yield lambda: callbacks.settings(Cli("update"))


SCENARIOS: dict[str, Scenario] = {
    "POST /users": create,
    "keyed POST": create_with_key,
    "GET one": get_one,
    "list": list_users,
    "int to text": alter_int_to_text,
    "provision": provision,
    "settings callback": settings_callback,
}
logging.disable(logging.WARNING)  # lines about each run
