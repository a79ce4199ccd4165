from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from ops.deploy.options import ZAPPA_SETTINGS, Options, uses_vpc
from ops.topology import ROLES


def test_defaults_are_those_of_the_readme() -> None:
    found = Options.from_environment({})
    assert (found.memory, found.timeout, found.public_stage) == (512, 30, "prod")
    assert (found.allowed_hosts, found.cors_origins, found.passed) == ((), (), {})


def test_what_the_operator_sets_reaches_the_function() -> None:
    found = Options.from_environment(
        {
            "LAMBDA_MEMORY_SIZE": "1024",
            "LAMBDA_TIMEOUT": "29",
            "API_GATEWAY_STAGE": "v1",
            "CORS_ALLOWED_ORIGINS": "https://a.example, https://b.example",
            "LOG_LEVEL": "DEBUG",
            "HOME": "/somewhere",
        }
    )
    assert (found.memory, found.timeout, found.public_stage) == (1024, 29, "v1")
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert set(found.passed) == {"CORS_ALLOWED_ORIGINS", "LOG_LEVEL"}


def test_blanks_around_a_choice_are_no_part_of_it() -> None:
    options = Options.from_environment({"API_AUTH": " none ", "LOG_LEVEL": "INFO\n"})
    assert options.access == "none"
    assert options.passed == {"API_AUTH": "none", "LOG_LEVEL": "INFO"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAMBDA_MEMORY_SIZE", "64"),
        ("LAMBDA_MEMORY_SIZE", "1 GB"),
        ("LAMBDA_TIMEOUT", "901"),
        ("API_GATEWAY_STAGE", "a/b"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} is '{value}'"):
        Options.from_environment({name: value})


def test_who_may_call_is_said_in_words() -> None:
    everyone = Options.from_environment({"API_AUTH": " none "})
    assert everyone.who_may_call().startswith("everyone who reaches the APIs")
    tokens = {
        "API_AUTH": "oidc",
        "OIDC_ISSUER": "https://i.example ",
        "OIDC_AUDIENCE": "a",
    }
    said = Options.from_environment(tokens).who_may_call()
    assert said.startswith("holders of an access token of https://i.example for a,")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.json", '{"common": {"vpc_config": {"SubnetIds": ["subnet-1"]}}, '
                          '"primary": {"extends": "common"}, '
                          '"secondary": {"extends": "common", "vpc_config": {}}}'),
        ("settings.yml", "primary: {vpc_config: {SubnetIds: [subnet-1]}}\nsecondary: {}\n"),
        ("settings.toml", '[primary.vpc_config]\nSubnetIds = ["subnet-1"]\n[secondary]\n'),
    ],
)  # fmt: skip
def test_a_settings_file_is_read_as_zappa_reads_it(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert uses_vpc("primary", tmp_path / name)
    assert not uses_vpc("secondary", tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "the settings file does not exist"),
        ("{", "the settings of primary cannot be read"),
        ("{}", "the settings of primary cannot be read"),
    ],
)
def test_a_settings_file_that_cannot_be_read_is_named(
    tmp_path: Path, text: str | None, says: str
) -> None:
    file = tmp_path / "settings.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ImproperlyConfigured, match=f"{file}: {says}"):
        uses_vpc("primary", file)


def test_the_projects_own_settings_use_no_vpc() -> None:
    assert not any(uses_vpc(stage, ZAPPA_SETTINGS) for stage in ROLES)


def test_a_deployment_that_asks_for_tokens_needs_one_for_its_last_check() -> None:
    oidc = {
        "API_AUTH": "oidc",
        "OIDC_ISSUER": "https://i.example",
        "OIDC_AUDIENCE": "a",
    }
    for env in (oidc, {**oidc, "API_TOKEN": " "}):
        with pytest.raises(
            ImproperlyConfigured,
            match=r"API_TOKEN is not set\. .*one of https://i.example for a with the scopes",
        ):
            Options.from_environment(env).require_token()
    Options.from_environment({**oidc, "API_TOKEN": "secret"}).require_token()
    Options.from_environment({"API_AUTH": "none"}).require_token()


def test_the_operators_token_is_neither_shown_nor_passed_on() -> None:
    options = Options.from_environment({"API_AUTH": "oidc", "API_TOKEN": "secret"})
    assert "secret" not in repr(options)
    assert "API_TOKEN" not in options.passed
