import pytest
from django.core.exceptions import ImproperlyConfigured

from ops.deploy.options import Options


def test_defaults_are_those_of_the_readme() -> None:
    found = Options.from_environment({})
    assert (found.memory, found.timeout, found.stage) == (512, 30, "prod")
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
    assert (found.memory, found.timeout, found.stage) == (1024, 29, "v1")
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert set(found.passed) == {"CORS_ALLOWED_ORIGINS", "LOG_LEVEL"}


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
