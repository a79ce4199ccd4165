"""What DATABASES may say, and that no door leads the token to an unverified server."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError
from psycopg import IsolationLevel

from config.dsql import options
from config.dsql.base import DatabaseWrapper
from ops.local.sandbox import lifecycle
from tests.config.dsql.conftest import run
from tests.config.dsql.test_base import HOST, wrapper
from tests.config.dsql.test_client import PSQL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sslmode", mode) for mode in ("disable", "allow", "prefer", "require",
                                         "verify-ca", "", None, "VERIFY-FULL")),
        *(("gssencmode", mode) for mode in ("prefer", "require", "", None)),
        ("sslsni", "0"),
        ("ssl_min_protocol_version", "TLSv1"),
        ("service", "elsewhere"),
        ("servicefile", "/tmp/service.conf"),  # noqa: S108 - a name, never opened
        ("passfile", "/tmp/pass"),  # noqa: S108 - the same
        ("conninfo", "sslmode=disable"),
        ("dsn", "sslmode=disable"),
        ("requiressl", "0"),
        ("sslkeylogfile", "/tmp/keys"),  # noqa: S108 - the same
        ("require_auth", "password"),
        ("password", "secret"),
        ("host", "/tmp"),  # noqa: S108 - the same
        ("context", None),
        ("assume_role", "app"),
        ("timeout", 5),
    ],
)  # fmt: skip
def test_an_option_that_is_unsafe_or_unknown_is_refused_by_name(
    name: str, value: Any
) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"\['OPTIONS'\]\['{name}'\]"):
        wrapper(HOST=HOST, OPTIONS={name: value}).get_connection_params()


@pytest.mark.parametrize(
    "host",
    ["/tmp", "@abstract", f"{HOST},/tmp", "/tmp/x.dsql.us-east-1.on.aws", f"{HOST} x",  # noqa: S108 - names
     "host=evil", f"{HOST},{HOST}", "-", 7],
)  # fmt: skip
def test_a_host_that_is_not_one_name_is_refused(host: Any) -> None:
    """libpq takes a path for a Unix socket, where it uses no TLS."""
    with pytest.raises(ImproperlyConfigured, match=r"\['HOST'\] is .*one host name"):
        wrapper(HOST=host, OPTIONS={"region": "us-east-1"}).get_connection_params()
    with pytest.raises(ImproperlyConfigured, match=r"'peer_host'.*one host name"):
        wrapper(HOST=HOST, OPTIONS={"peer_host": host}).get_connection_params()


BAD_SECONDS: list[Any] = [0, -1, "8", True, float("nan"), float("inf"), []]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in options.SECONDS for value in BAD_SECONDS],
)
def test_a_time_that_is_no_number_of_seconds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"'{name}'.*seconds above 0"):
        wrapper(HOST=HOST, OPTIONS={name: value}).get_connection_params()


def test_times_have_defaults_and_may_be_without_limit() -> None:
    params = wrapper(HOST=HOST).get_connection_params()
    times = {name: params[name] for name in options.SECONDS}
    assert times == {
        "return_seconds": 15,
        "statement_seconds": 8,
        "login_seconds": 3,
        "request_seconds": 25,
    }
    unlimited = wrapper(HOST=HOST, OPTIONS={"statement_seconds": None})
    assert unlimited.get_connection_params()["statement_seconds"] == float("inf")


def test_what_is_safe_may_be_said_and_what_is_stricter() -> None:
    said = {
        "sslmode": "verify-full",
        "ssl_min_protocol_version": "TLSv1.3",
        "application_name": "reports",
        "sslnegotiation": "direct",
        "tcp_user_timeout": 5000,
        "isolation_level": 3,
        "client_encoding": "utf-8",
    }
    params = wrapper(HOST=HOST, OPTIONS=said).get_connection_params()
    assert params["ssl_min_protocol_version"] == "TLSv1.3"
    assert (params["sslmode"], params["gssencmode"]) == ("verify-full", "disable")
    assert (params["application_name"], params["tcp_user_timeout"]) == ("reports", 5000)


@contextmanager
def plaintext_server() -> Iterator[tuple[int, bytearray]]:
    """A server that speaks no TLS and asks for the password; what it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    heard = bytearray()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(1)
                try:
                    converse(client, heard)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def converse(client: socket.socket, heard: bytearray) -> None:
    while data := client.recv(1 << 16):
        heard += data
        asks = struct.unpack("!i", data[4:8])[0] if len(data) >= 8 else 0
        if asks in (80877103, 80877104):  # TLS, GSSAPI: neither
            client.sendall(b"N")
        else:
            client.sendall(b"R" + struct.pack("!ii", 8, 3))  # the password, in clear


@pytest.mark.parametrize(
    "door", ["PGSSLMODE", "PGSERVICE", "PGGSSENCMODE", "PGREQUIRESSL"]
)
def test_no_variable_of_the_environment_leads_the_token_to_a_plaintext_server(
    door: str,
    other: DatabaseWrapper,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    service = tmp_path / "service.conf"
    service.write_text("[elsewhere]\nsslmode=disable\ngssencmode=prefer\n")
    values = {
        "PGSSLMODE": "disable",
        "PGSERVICE": "elsewhere",
        "PGGSSENCMODE": "prefer",
    }
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv(door, values.get(door, "0"))
    with plaintext_server() as (port, heard):
        monkeypatch.setenv("PGPORT", str(port))
        with pytest.raises(OperationalError, match="server does not support SSL"):
            run(other, "SELECT 1")
    assert len(heard) >= 8
    assert b"X-Amz-Signature" not in heard


def test_dbshell_lets_no_service_file_lead_the_token_elsewhere(
    other: DatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psql reads one before the environment, but after what stands in its arguments."""
    (tmp_path / "psql").write_text(PSQL)
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("RECORD", str(tmp_path / "record.json"))
    call_command("dbshell", "--database=other")
    (database,) = [
        word
        for word in (tmp_path / "record.json").read_text().split('"')
        if "dbname=" in word
    ]
    assert "sslmode=verify-full" in database
    assert "gssencmode=disable" in database


def test_a_token_for_another_cluster_never_reaches_the_sandbox(
    other: DatabaseWrapper, sandbox: lifecycle.Status
) -> None:
    """Its certificate names its own clusters, so that verification ends first."""
    own = sandbox.regions[0].endpoint
    foreign = f"{'a' * 26}.{own.partition('.')[2]}"
    other.settings_dict["HOST"] = foreign
    with pytest.raises(OperationalError, match="does not match host name"):
        run(other, "SELECT 1")
    other.settings_dict["HOST"] = own
    assert run(other, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-c statement_timeout=5000", "statement_timeout"),
        ("-cLock_Timeout=1", "lock_timeout"),
        ("--default-transaction-isolation=serializable", "default_transaction_isolation"),
        ("-c search_path=a,public -c role=app", "role"),
        (r"-c search_path=a\ -c\ b --jit=off", "jit"),
        ("-c", "-c"),
        ("-c search_path", "-c"),
        ("-e", "-e"),
        ("search_path=a", "search_path=a"),
        (7, "7"),
    ],
)  # fmt: skip
def test_a_session_setting_that_dsql_refuses_is_named_before_it_connects(
    text: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = wrapper(HOST=HOST, OPTIONS={"options": text})
    with pytest.raises(ImproperlyConfigured, match=rf"\['options'\] .*{name}"):
        refused.get_connection_params()
    if isinstance(text, str):
        monkeypatch.setenv("PGOPTIONS", text)
        with pytest.raises(ImproperlyConfigured, match=f"PGOPTIONS has {name}"):
            wrapper(HOST=HOST).get_connection_params()


@pytest.mark.parametrize(
    "text",
    [
        "-c search_path=public,pg_catalog", "--search-path=a", "-cTimeZone=Europe/Berlin",
        r"-c search_path=a,\ b -c DateStyle=ISO", "", None,
    ],
)  # fmt: skip
def test_session_settings_that_dsql_takes_are_handed_on(text: str | None) -> None:
    settings = {"HOST": HOST, "NAME": "postgres.a", "OPTIONS": {"options": text}}
    params = wrapper(**settings).get_connection_params()
    assert params["options"] == f"{text or ''} -c search_path=a".strip()


@pytest.mark.parametrize("level", [1, IsolationLevel.READ_COMMITTED, 4, "3", None])
def test_a_level_of_isolation_that_dsql_lacks_is_refused(level: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'isolation_level'.*REPEATABLE"):
        wrapper(HOST=HOST, OPTIONS={"isolation_level": level}).get_connection_params()


@pytest.mark.parametrize("name", ["pool", "assume_role"])
def test_what_takes_the_place_of_a_pool_or_a_role_is_said_where_django_looks_first(
    name: str,
) -> None:
    refused = wrapper(HOST=HOST, OPTIONS={name: True})
    for use in (refused.get_connection_params, lambda: refused.pool):
        with pytest.raises(ImproperlyConfigured, match=rf"'{name}'.*(CONN_MAX|USER)"):
            use()
    empty = wrapper(HOST=HOST, OPTIONS={name: None})
    assert name not in empty.get_connection_params()
