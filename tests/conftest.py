"""One sandbox for the whole test session; product code sees only an endpoint and a CA file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.urls import clear_script_prefix

from config.dsql import deadlines
from ops import aws
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from ops.local.sandbox.postgres import Postgres
from tests.checkout import Checkout, copied

JOB_DELAY = 0.01  # seconds: jobs of the tests need not look slow


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Status]:
    """Both Regions on a free port, with this process's environment pointing at the primary."""
    root = tmp_path_factory.mktemp("sandbox")
    # Nothing here kills PostgreSQL: no commit has to wait for the disk.
    status = lifecycle.up(root, job_delay=JOB_DELAY, durable=False)
    outer = dict(os.environ)
    os.environ.update(status.environ())
    try:
        yield status
    finally:
        os.environ.clear()
        os.environ.update(outer)
        lifecycle.reset(root)


@pytest.fixture(autouse=True)
def no_script_prefix_stays() -> Iterator[None]:
    """A request through WSGI leaves its stage in front of every later link."""
    yield
    clear_script_prefix()


@pytest.fixture(autouse=True)
def no_health_stays() -> None:
    """What /health found in another test is cached for a second."""
    from config.api import health  # Django is set up by now

    health.STATE.clear()


@pytest.fixture(autouse=True)
def no_requests_time_stays() -> Iterator[None]:
    """A stream that a test leaves open keeps the time of its request running."""
    yield
    deadlines._end_request()


@pytest.fixture(autouse=True)
def no_aws_session_stays() -> Iterator[None]:
    """A session keeps the credentials of the test that made it."""
    yield
    aws._session.cache_clear()


@pytest.fixture
def faults(sandbox: lifecycle.Status) -> Iterator[FaultClient]:
    """Lets the sandbox go wrong; what is in force at the end is lifted."""
    switch = FaultClient(sandbox.root)
    yield switch
    switch.clear()


@pytest.fixture
def held_jobs(sandbox: lifecycle.Status) -> Iterator[None]:
    """Jobs submitted now do not begin by themselves."""
    lifecycle.up(sandbox.root, job_delay=3600)
    yield
    lifecycle.up(sandbox.root, job_delay=JOB_DELAY)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(sandbox: lifecycle.Status) -> None:
    """Point every database alias at its Region's endpoint; called before any connects."""
    endpoints = {region.role: region.endpoint for region in sandbox.regions}
    settings.DATABASES["default"]["HOST"] = endpoints["primary"]
    settings.DATABASES["secondary"]["HOST"] = endpoints["secondary"]


@pytest.fixture
def superuser(sandbox: lifecycle.Status) -> Iterator[psycopg.Connection[Any]]:
    """Behind the sandbox: to do what only the service itself does."""
    with Postgres(sandbox.root).connect() as connection:
        yield connection


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A fresh clone: the project's files, and nothing that a command made."""
    found = copied(tmp_path / "checkout")
    yield found
    found.end()


@pytest.fixture(autouse=True)
def only_loopback() -> None:
    """libpq is not covered by pytest-socket: refuse any other address by name."""
    address = os.environ.get("PGHOSTADDR", "127.0.0.1")
    assert address in {"127.0.0.1", "::1"}, f"tests must not reach {address}"
