import pytest
from pytest_django.fixtures import Settings

from config.api.system_checks import check_deployment


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example",
        "https://",
        "https:issuer",
        "https://[issuer",
        "x",
        "https://user:password@issuer.example",
        "https://issuer .example",
        "https://issuer.example/ten ant",
        "https://issuer.example:0",
        "https://issuer.example:port",
        "https://issuer.example/\ttenant",
        "https://issuer_example",
        "https://issuer.example?tenant=1",
        "https://issuer.example#tenant",
    ],
)
def test_an_address_is_https_and_names_a_host(settings: Settings, url: str) -> None:
    settings.API_AUTH, settings.OIDC_ISSUER = "oidc", url
    (found,) = check_deployment(None)
    assert (found.id, found.msg) == ("api.E004", f"OIDC_ISSUER is {url!r}.")


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/tenant",
        "https://issuer.example/",
        "HTTPS://Issuer.example:8443/a%20b",
        "https://192.0.2.1",
        "https://[2001:db8::1]/",
    ],
)
def test_an_https_address_is_accepted(settings: Settings, url: str) -> None:
    settings.API_AUTH, settings.OIDC_ISSUER = "oidc", url
    assert check_deployment(None) == []


def test_the_address_of_the_keys_may_have_a_query(settings: Settings) -> None:
    settings.API_AUTH, settings.OIDC_ISSUER = "oidc", "https://issuer.example"
    settings.OIDC_JWKS_URL = "https://issuer.example/keys?appid=1"
    assert check_deployment(None) == []
