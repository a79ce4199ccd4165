import pytest
from pytest_django.fixtures import Settings

from config.api.checks import check_deployment


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "https://", "https:issuer", "https://[issuer", "x"]
)
def test_an_address_is_https_and_names_a_host(settings: Settings, url: str) -> None:
    settings.API_AUTH, settings.OIDC_ISSUER = "oidc", url
    (found,) = check_deployment(None)
    assert (found.id, found.msg) == ("api.E004", f"OIDC_ISSUER is {url!r}.")


def test_an_https_address_is_accepted(settings: Settings) -> None:
    settings.API_AUTH, settings.OIDC_ISSUER = "oidc", "https://issuer.example/tenant"
    assert check_deployment(None) == []
