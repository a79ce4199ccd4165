"""E-mail addresses: what RFC 5321 allows, and which part of another is wrong."""

import pytest
from django.test import Client

from tests.users.test_api import ADA, send
from users import emails

LONG_DOMAIN = ".".join(["b" * 63] * 3 + ["c" * 61])  # 253
GOOD = [
    "ada@example.com",
    "o'brien+tag/x=y@example.co.uk",
    "a" * 64 + "@example.com",
    "a@" + "b" * 63 + ".com",
    "a@b.c",
    "a@xn--x-9ga.com",
    "a@1und1.de",
    '"a b"@example.com',
    '"a\\"b@c"@example.com',
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "root@localhost",
]
BAD = {
    "": "no @",
    "nobody": "no @",
    "@example.com": "before @",
    "a@": "after @",
    "a" * 65 + "@example.com": "before @ has 65 characters; at most 64",
    "a" * 250 + "@example.com": "before @ has 250 characters; at most 64",
    "é@example.com": "before @ must be ASCII",
    "a b@example.com": "before @ has ' '",
    "a@b@example.com": "before @ has '@'",
    "a\x00@example.com": "before @ has '\\x00'",
    '"a"b@example.com': "before @ has '\"'",
    ".a@example.com": "before @ has a dot",
    "a.@example.com": "before @ has a dot",
    "a..b@example.com": "before @ has a dot",
    "a@" + "b" * 64 + ".com": "label of the domain has 64 characters; at most 63",
    f"a@{LONG_DOMAIN}c": "domain has 254 characters; at most 253",
    "a" * 64 + f"@{LONG_DOMAIN[62:]}": "Has 256 characters; at most 254",
    "a@example..com": "domain has a dot",
    "a@.example.com": "domain has a dot",
    "a@example.com.": "domain has a dot",
    "a@-example.com": "label '-example'",
    "a@example-.com": "label 'example-'",
    "a@exa_mple.com": "label 'exa_mple'",
    "a@exa mple.com": "label 'exa mple'",
    "a@éxample.com": "domain in ASCII",
    "a@\u212aelvin.com": "domain in ASCII",
    "a@example": "'example' has no dot",
    "a@192.0.2.1": "brackets",
    "a@[192.0.2]": "brackets",
    "a@[192.0.2.1": "brackets",
    "a@[::1]": "[IPv6:",
    "a@[IPv6:fe80::1%eth0]": "brackets",
    "a@[x:y]": "brackets",
}


@pytest.mark.parametrize("address", GOOD)
def test_an_address_of_the_rfc_is_taken(address: str) -> None:
    assert emails.find_fault(address) == ""


@pytest.mark.parametrize(("address", "reason"), BAD.items())
def test_the_part_that_is_wrong_is_named(address: str, reason: str) -> None:
    assert reason in emails.find_fault(address)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", [GOOD[2], GOOD[7], "a" * 64 + f"@{LONG_DOMAIN[64:]}"]
)
def test_the_largest_and_the_quoted_are_stored(client: Client, address: str) -> None:
    response = send(client, "POST", "/users", {**ADA, "email": f" {address} "})
    assert (response.status_code, response.json().get("email")) == (201, address)
    found = client.get("/users", {"email": address.upper()}).json()["users"]
    assert [user["email"] for user in found] == [address]


@pytest.mark.django_db
def test_only_one_reason_is_given_for_an_address(client: Client) -> None:
    response = send(client, "POST", "/users", {**ADA, "email": "é" * 9_000})
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["pointer"] == "/email"
