import hashlib
import ssl
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from config.dsql.base import AMAZON_ROOTS, DatabaseWrapper

HOST = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"


def wrapper(**settings: Any) -> DatabaseWrapper:
    default = connections.databases["default"]
    return DatabaseWrapper({**default, "OPTIONS": {}, "USER": "", **settings}, "other")


def test_an_empty_host_names_the_remedy() -> None:
    with pytest.raises(ImproperlyConfigured, match="set DSQL_ENDPOINT"):
        wrapper(HOST="").get_connection_params()


def test_verifies_the_server_against_the_shipped_roots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    params = wrapper(HOST=HOST).get_connection_params()
    assert params["sslmode"] == "verify-full"
    assert params["sslrootcert"] == str(AMAZON_ROOTS)
    assert (params["user"], params["region"]) == ("admin", "us-east-1")


def test_the_environment_may_name_other_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", "ca.pem")
    assert "sslrootcert" not in wrapper(HOST=HOST).get_connection_params()


@pytest.mark.parametrize(
    ("host", "options", "message"),
    [
        ("db.example.com", {}, "names no Region"),
        (HOST, {"region": "us-east-2"}, "is in 'us-east-1'"),
    ],
)
def test_a_region_that_cannot_be_right_is_refused(
    host: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        wrapper(HOST=host, OPTIONS=options).get_connection_params()


def test_ships_the_five_amazon_roots_and_nothing_else() -> None:
    pem = AMAZON_ROOTS.read_text()
    named = {line[2:].rpartition(": ")[2] for line in pem.splitlines() if ": " in line}
    blocks = pem.split("-----BEGIN CERTIFICATE-----")[1:]
    found = {
        hashlib.sha256(
            ssl.PEM_cert_to_DER_cert(
                "-----BEGIN CERTIFICATE-----"
                + block.split("-----END")[0]
                + "-----END CERTIFICATE-----"
            )
        ).hexdigest()
        for block in blocks
    }
    assert len(found) == 5
    assert found == named
    assert "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e" in found
