"""What the environment of a command is, by its target; nothing is called here."""

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops import target
from ops.local import envfile
from ops.local.sandbox import lifecycle
from ops.local.sandbox.clusters import Timing
from ops.local.sandbox.state import State
from ops.target import TargetError

OWN = {
    "AWS_ACCESS_KEY_ID": "AKIAOWN",
    "AWS_SECRET_ACCESS_KEY": "own",
    "AWS_SESSION_TOKEN": "own token",
    "AWS_PROFILE": "production",
    "AWS_ENDPOINT_URL": "https://elsewhere.example.com",
    "PGHOST": "elsewhere.example.com",
    "PGSERVICE": "production",
    "PATH": os.environ["PATH"],
}


@pytest.fixture
def file(tmp_path: Path, sandbox: lifecycle.Status) -> Path:
    path = tmp_path / ".env"
    envfile.ensure(path, sandbox)
    return path


@pytest.fixture
def choose(file: Path, sandbox: lifecycle.Status) -> Any:
    def chosen(
        line: str, environ: dict[str, str], directory: Path = sandbox.root
    ) -> list[str]:
        words = ["manage.py", *line.split()]
        return target.choose(words, environ, file=file, directory=directory)

    return chosen


@pytest.fixture
def absent(tmp_path: Path) -> Path:
    return tmp_path / "absent"


def lead(environ: dict[str, str]) -> dict[str, str]:
    """The variables that could name a target."""
    return {k: v for k, v in environ.items() if k.startswith(("AWS_", "PG", "DSQL_"))}


@pytest.mark.parametrize("line", ["dsql_verify", "migrate", "shell --target sandbox"])
def test_the_running_sandbox_is_the_target_whatever_else_is_set(
    line: str, choose: Any, sandbox: lifecycle.Status
) -> None:
    environ = dict(OWN)
    rest = choose(line, environ)
    assert "--target" not in rest
    url = f"http://127.0.0.1:{sandbox.port}"
    assert lead(environ) == lead(
        sandbox.environ()
        | {
            "AWS_ENDPOINT_URL": url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )
    assert environ["TARGET"] == "sandbox"
    assert "127.0.0.1" in environ["no_proxy"].split(",")
    assert environ["API_AUTH"] == "none"


def test_a_region_and_a_key_of_this_sandbox_are_kept(
    choose: Any, sandbox: lifecycle.Status
) -> None:
    serving = {
        **sandbox.environ("secondary"),
        **sandbox.runtime["secondary"],
        "DSQL_USER": "app",
        "LOG_LEVEL": "DEBUG",
    }
    environ = dict(serving)
    choose("runserver", environ)
    assert serving.items() <= environ.items()


def test_a_stale_environment_is_put_right(
    choose: Any, sandbox: lifecycle.Status
) -> None:
    stale = {**sandbox.environ(), "PGPORT": "1", "AWS_ACCESS_KEY_ID": "AKIAGONE"}
    environ = dict(stale)
    choose("migrate", environ)
    assert sandbox.environ().items() <= environ.items()


@pytest.mark.parametrize(
    "line", ["dsql_status --target aws", "migrate --target=aws", "stack plan"]
)
@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_aws_ignores_what_the_sandbox_set(
    line: str, role: str, choose: Any, sandbox: lifecycle.Status
) -> None:
    exported = envfile.variables(sandbox, role) | sandbox.runtime[role]
    environ = {**exported, "AWS_PROFILE": "production"}
    choose(line, environ)
    environ.pop("DJANGO_SECRET_KEY")  # of another rendering, so its owner is unknown
    assert environ == {
        "AWS_PROFILE": "production",
        "TARGET": "aws",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }


@pytest.mark.parametrize("directory", ["deleted", "moved", "made anew", "another port"])
@pytest.mark.parametrize("line", ["dsql_status --target aws", "stack plan"])
def test_aws_ignores_what_a_sandbox_set_that_is_not_there_as_it_was(
    line: str, directory: str, choose: Any, sandbox: lifecycle.Status, tmp_path: Path
) -> None:
    set_then = replace(
        sandbox,
        port=sandbox.port + 1,
        root=sandbox.root if directory == "another port" else tmp_path / "gone",
        credentials={"AWS_ACCESS_KEY_ID": "AKIAGONE", "AWS_SECRET_ACCESS_KEY": "gone"},
    )
    if directory == "made anew":
        set_then.root.mkdir()
        State.new(1, ("DbConnect",), Timing(), "shop").save(set_then.root)
    environ = {
        **envfile.variables(set_then, "secondary"),
        "AWS_SESSION_TOKEN": "of nobody",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_PROFILE": "production",
        "OIDC_ISSUER": "https://issuer.example.com",
    }
    choose(line, environ)
    environ.pop("DJANGO_SECRET_KEY")
    assert environ == {
        "AWS_PROFILE": "production",
        "OIDC_ISSUER": "https://issuer.example.com",
        "TARGET": "aws",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }


def test_a_choice_of_access_survives_a_sandbox_that_is_gone(
    choose: Any, sandbox: lifecycle.Status, tmp_path: Path
) -> None:
    gone = replace(sandbox, root=tmp_path / "gone")
    environ = {**envfile.variables(gone), "API_AUTH": "oidc"}
    choose("deploy", environ)
    assert environ["API_AUTH"] == "oidc"


def test_own_keys_survive_the_variables_of_a_sandbox_that_is_there(
    choose: Any, sandbox: lifecycle.Status
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "own"}
    environ = {**envfile.variables(sandbox), **keys}
    choose("stack plan", environ)
    assert keys.items() <= environ.items()


def test_aws_keeps_what_is_the_users_own(choose: Any) -> None:
    environ = {**OWN, "API_AUTH": "none"}
    choose("stack plan", environ)
    assert environ == {
        **OWN,
        "API_AUTH": "none",
        "TARGET": "aws",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:9", "https://elsewhere.example.com"]
)
def test_no_configured_endpoint_leads_aws_elsewhere(url: str, choose: Any) -> None:
    environ = {"AWS_ENDPOINT_URL_DSQL": url}
    choose("dsql_provision --target aws", environ)
    assert environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "true"
    kept = {"AWS_ENDPOINT_URL_DSQL": url, "TARGET_KEEPS_ENDPOINT_URLS": "1"}
    choose("dsql_provision --target aws", kept)
    assert "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" not in kept


def test_a_rehearsals_database_is_reached_beside_a_sandbox_of_this_checkout(
    choose: Any,
) -> None:
    """Both are on loopback: the address is the same, the port is not."""
    network = {"PGHOSTADDR": "127.0.0.1", "PGPORT": "1", "PGSSLROOTCERT": "/its/ca.pem"}
    environ = {**network, "TARGET_KEEPS_ENDPOINT_URLS": "1"}
    choose("dsql_provision --target aws", environ)
    assert {name: environ.get(name) for name in network} == network
    environ = dict(network)
    choose("dsql_provision --target aws", environ)
    assert "PGHOSTADDR" not in environ


@pytest.mark.parametrize("line", ["dsql_verify", "migrate", "seed_users", "unknown"])
def test_without_a_running_sandbox_the_choice_is_asked_for(
    line: str, choose: Any, absent: Path
) -> None:
    environ = dict(OWN)
    with pytest.raises(TargetError) as refused:
        choose(line, environ, absent)
    (sentence,) = str(refused.value).splitlines()
    assert "manage.py sandbox up" in sentence
    assert "--target aws" in sentence


def test_an_endpoint_without_a_named_target_is_a_question(choose: Any) -> None:
    environ = {"DSQL_ENDPOINT": f"{'a' * 26}.dsql.us-east-1.on.aws"}
    with pytest.raises(
        TargetError, match="DSQL_ENDPOINT is set, but no target is named"
    ):
        choose("migrate", environ)


def test_the_file_names_the_target_only_while_its_sandbox_runs(
    choose: Any, absent: Path
) -> None:
    with pytest.raises(TargetError, match="is absent: start it"):
        choose("migrate --target sandbox", {}, absent)
    environ: dict[str, str] = {}
    choose("runserver", environ, absent)  # it starts the sandbox itself
    assert lead(environ) == {}


@pytest.mark.parametrize("line", ["stack plan", "deploy", "destroy"])
def test_what_only_makes_sense_on_aws_refuses_the_sandbox(
    line: str, choose: Any
) -> None:
    with pytest.raises(TargetError, match="works on AWS only"):
        choose(line, {"TARGET": "sandbox"})


@pytest.mark.parametrize("line", ["run", "sandbox up", "api_token"])
def test_what_only_makes_sense_here_refuses_aws(line: str, choose: Any) -> None:
    with pytest.raises(TargetError, match="works on this machine only"):
        choose(line, {"TARGET": "aws"})


@pytest.mark.parametrize("line", ["migrate --target production", "migrate --target="])
def test_an_unknown_target_is_refused(line: str, choose: Any) -> None:
    environ = {"TARGET": "staging"}
    with pytest.raises(TargetError, match="sandbox, aws"):
        choose(line, environ)


@pytest.mark.parametrize(
    "line",
    [
        "--target sandbox migrate --target aws",
        "migrate --target=aws --target=sandbox",
        "migrate --target aws --target=",
    ],
)
def test_two_targets_are_refused(line: str, choose: Any) -> None:
    with pytest.raises(TargetError, match=r"name one target|needs one of"):
        choose(line, {})


def test_a_target_may_be_repeated_and_stand_anywhere(choose: Any) -> None:
    line = "--target aws dsql_status --format json --target=aws"
    assert choose(line, {}) == ["manage.py", "dsql_status", "--format", "json"]


@pytest.mark.parametrize("line", ["dbshell -- -h localhost", "test", "flush"])
def test_what_reaches_a_database_needs_a_target(
    line: str, choose: Any, absent: Path
) -> None:
    with pytest.raises(TargetError, match="No target is named"):
        choose(line, {}, absent)


@pytest.mark.parametrize("content", [None, b"API_AUTH=\xff\xfe\n"])
def test_a_file_that_cannot_be_read_is_named(
    content: bytes | None, choose: Any, file: Path
) -> None:
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(TargetError, match=r"\.env cannot be read"):
        choose("dsql_status", {})


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["{}={}", 'export {}="{}"', "{} = '{}'"])
def test_the_users_own_file_may_be_written_in_any_of_the_usual_ways(
    form: str, ending: str, choose: Any, file: Path, absent: Path
) -> None:
    lines = [form.format(*pair) for pair in (("TARGET", "aws"), ("AWS_PROFILE", "me"))]
    file.write_bytes(ending.join([*lines, ""]).encode())
    environ: dict[str, str] = {}
    choose("dsql_status", environ, absent)
    assert (environ["TARGET"], environ["AWS_PROFILE"]) == ("aws", "me")


@pytest.mark.parametrize("line", ["check", "makemigrations", "migrate --help", ""])
def test_what_talks_to_nothing_needs_no_target(
    line: str, choose: Any, absent: Path
) -> None:
    environ = {"DSQL_ENDPOINT": "kept"}
    choose(line, environ, absent)
    assert environ["DSQL_ENDPOINT"] == "kept"


def test_the_users_own_file_is_read_for_every_target(
    choose: Any, file: Path, absent: Path
) -> None:
    file.write_text("TARGET=aws\nAWS_PROFILE=mine\nLOG_LEVEL=DEBUG\n")
    environ = {"LOG_LEVEL": "INFO"}
    choose("dsql_status", environ, absent)
    assert environ["AWS_PROFILE"] == "mine"
    assert environ["LOG_LEVEL"] == "INFO"
    assert environ["TARGET"] == "aws"


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "yes\n"])
def test_rows_on_aws_are_written_after_a_yes_only(
    answer: str, choose: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("ops.aws.account", lambda: "111122223333")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    if answer == "yes\n":
        assert choose("seed_users --target aws", {}) == ["manage.py", "seed_users"]
    else:
        with pytest.raises(TargetError, match="seed_users did nothing"):
            choose("seed_users --target aws", {})
    asked = "seed_users writes rows in AWS account 111122223333. Go on? [y/N] "
    assert capsys.readouterr().err == asked


def test_nobody_says_yes_where_standard_input_is_closed(
    choose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.aws.account", lambda: "111122223333")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(TargetError, match="flush did nothing"):
        choose("flush --no-input --target aws", {})


def test_yes_answers_for_the_user(choose: Any) -> None:
    line = "dsql_verify --yes --rounds 5 --target aws"
    assert choose(line, {}) == ["manage.py", "dsql_verify", "--rounds", "5"]


def test_the_advice_for_a_missing_endpoint_fits_the_target(
    sandbox: lifecycle.Status, absent: Path
) -> None:
    advice = target.advise_endpoint({"TARGET": "aws"})
    assert "`manage.py dsql_status --format env --target aws` prints it" in advice
    advice = target.advise_endpoint({}, directory=absent)
    assert "`manage.py sandbox up`, then `manage.py dsql_provision`" in advice
    advice = target.advise_endpoint({}, directory=sandbox.root)
    assert advice == "Set DSQL_ENDPOINT; `manage.py sandbox env` prints it."
