"""E-mail addresses as RFC 5321 writes them; the refusal names the part that is wrong."""

import re
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, IPv6Address

# RFC 5321, section 4.5.3.1: octets of the local part and of a path without its brackets;
# RFC 1035, section 2.3.4: of a domain as text, and of a label.
MAX_ADDRESS, MAX_LOCAL, MAX_DOMAIN, MAX_LABEL = 254, 64, 253, 63
# RFC 5321, section 4.1.2: atext, and what stands in a quoted string.
ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
FOREIGN = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]")
QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')
LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


def find_fault(address: str) -> str:
    """Why the address is refused; "" when it is not. Takes linear time."""
    local, at, domain = address.rpartition("@")
    if not at:
        return "Has no @; write name@example.com."
    reason = _find_local_fault(local) or _find_domain_fault(domain)
    if not reason and len(address) > MAX_ADDRESS:
        return f"Has {len(address)} characters; at most {MAX_ADDRESS} are allowed."
    return reason


def _find_local_fault(local: str) -> str:
    part = "The part before @"
    if not local:
        return "Has nothing before @."
    if not local.isascii():
        return f"{part} must be ASCII."
    if len(local) > MAX_LOCAL:
        return f"{part} has {len(local)} characters; at most {MAX_LOCAL} are allowed."
    if QUOTED.fullmatch(local):
        return ""
    if foreign := FOREIGN.search(local):
        return f"{part} has {foreign[0]!r}, which cannot stand there unquoted."
    if not all(map(ATOM.fullmatch, local.split("."))):
        return f"{part} has a dot at its start, at its end or beside another."
    return ""


def _find_domain_fault(domain: str) -> str:
    if not domain:
        return "Has nothing after @."
    if domain.startswith("["):
        return _find_literal_fault(domain)
    # What is one letter in two cases, Python, DNS and the database's index see differently.
    if not domain.isascii():
        return "Write the domain in ASCII (xn--…), as DNS has it."
    if len(domain) > MAX_DOMAIN:
        return f"The domain has {len(domain)} characters; at most {MAX_DOMAIN} are allowed."
    *above, last = labels = domain.split(".")
    for label in labels:
        if reason := _find_label_fault(label):
            return reason
    if last.isdigit():
        return "The domain ends in a number; write an IP address in brackets."
    if not above and last.lower() != "localhost":
        return f"The domain {last!r} has no dot; write all of it."
    return ""


def _find_label_fault(label: str) -> str:
    if not label:
        return "The domain has a dot at its start, at its end or beside another."
    if len(label) > MAX_LABEL:
        return (
            f"A label of the domain has {len(label)} characters; at most {MAX_LABEL} "
            "are allowed."
        )
    if not LABEL.fullmatch(label):
        return (
            f"The domain's label {label!r} must be of letters, digits and hyphens, with no "
            "hyphen at its start or end."
        )
    return ""


def _find_literal_fault(domain: str) -> str:
    """RFC 5321, section 4.1.3."""
    text = domain[1:-1]
    tag, tagged, rest = text.partition(":")
    six = tagged and tag.lower() == "ipv6" and "%" not in rest
    if len(domain) <= MAX_DOMAIN and domain.endswith("]"):
        with suppress(AddressValueError):
            IPv6Address(rest) if six else IPv4Address(text)
            return ""
    return "The address in brackets must be [192.0.2.1] or [IPv6:2001:db8::1]."
