from pathlib import Path

import pytest

from ops.local.sandbox.lifecycle import Status
from ops.local.sandbox.postgres import Postgres, PostgresError


def test_the_operator_reaches_postgresql_while_libpq_points_at_the_listener(
    sandbox: Status,
) -> None:
    with Postgres(sandbox.root).connect() as connection:
        row = connection.execute("SELECT session_user, inet_server_addr()").fetchone()
    assert row == ("cluster_owner", None)


def test_parallel_workers_start(sandbox: Status) -> None:
    with Postgres(sandbox.root).connect() as connection:
        connection.execute("SET debug_parallel_query = on")
        row = connection.execute("SELECT count(*) > 0 FROM pg_class").fetchone()
    assert row == (True,)


def test_data_of_another_version_are_not_touched(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path)
    (postgres.data).mkdir(parents=True)
    (postgres.data / "ready").write_text("another")
    with pytest.raises(PostgresError, match="sandbox reset"):
        postgres.start()
    assert (postgres.data / "ready").read_text() == "another"
    postgres.remove()
