import json
import os
import sys
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from psycopg.conninfo import conninfo_to_dict

from config.dsql.base import DatabaseWrapper

PSQL = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["RECORD"], "w") as out:
    json.dump({{"argv": sys.argv[1:], "env": dict(os.environ)}}, out)
"""


def test_dbshell_hands_psql_the_options_of_the_connection(
    other: DatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psql").write_text(PSQL)
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("RECORD", str(tmp_path / "record.json"))
    options = {"hostaddr": "192.0.2.7", "connect_timeout": 3, "application_name": "a b"}
    monkeypatch.setitem(other.settings_dict, "OPTIONS", options)
    call_command("dbshell", "--database=other")
    database = json.loads((tmp_path / "record.json").read_text())["argv"][-1]
    found = conninfo_to_dict(database)
    assert found["hostaddr"] == "192.0.2.7"
    assert str(found["connect_timeout"]) == "3"
    assert found["application_name"] == "a b"
    assert found["sslmode"] == "verify-full"


def test_dbshell_hands_psql_a_token_that_no_process_list_shows(
    other: DatabaseWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psql").write_text(PSQL)
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("RECORD", str(tmp_path / "record.json"))
    monkeypatch.setitem(other.settings_dict, "NAME", "postgres.archive")
    before = dict(other.settings_dict)
    call_command("dbshell", "--database=other", "--", "-c", "SELECT 1")
    assert other.settings_dict == before
    called = json.loads((tmp_path / "record.json").read_text())
    host = before["HOST"]
    *words, database = called["argv"]
    assert words == ["-U", "admin", "-h", host, "-c", "SELECT 1"]
    assert conninfo_to_dict(database)["dbname"] == "postgres"
    assert called["env"]["PGSSLMODE"] == "verify-full"
    assert called["env"]["PGOPTIONS"] == "-c search_path=archive"
    token = called["env"]["PGPASSWORD"]
    assert token.startswith(f"{host}/?Action=DbConnectAdmin")
    with psycopg.connect(
        host=host,
        user="admin",
        dbname="postgres",
        password=token,
        sslmode="verify-full",
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
