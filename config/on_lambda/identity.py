"""Who calls, as API Gateway knows it; each kind of caller has names of its own."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

CALLER = "apigateway.caller"  # in the WSGI environment
# A role's session has the name that whoever assumes the role has chosen.
SESSION = re.compile(r"arn:[^:]+:sts::(\d+):assumed-role/([^/]+)/.+")
PRINCIPAL = re.compile(r"arn:[^:]+:(?:iam|sts)::(\d+):(.+)")


def identify_caller(request: Mapping[str, Any]) -> str:
    """The caller of an event's ``requestContext``; "" where API Gateway let anybody in.

    The same in both Regions, and for each session of a role. An authorizer says more than
    a signature, which says more than a certificate or a key.
    """
    authorizer = as_mapping(request.get("authorizer"))
    claims = as_mapping(authorizer.get("claims"))
    identity = as_mapping(request.get("identity"))
    certificate = as_mapping(identity.get("clientCert"))
    if subject := as_text(claims.get("sub")):
        # Another issuer's subject of that name is another caller. No space is left in the
        # issuer, so that no subject can pass for both.
        if issuer := as_text(claims.get("iss")):
            return f"issuer {quote(issuer, ':/', errors='surrogatepass')} {subject}"
        return f"token {subject}"
    if principal := as_text(authorizer.get("principalId")):
        return f"principal {principal}"
    # Callers of an identity pool share one role.
    if pooled := as_text(identity.get("cognitoIdentityId")):
        return f"identity {pooled}"
    if arn := as_text(identity.get("userArn")):
        return f"iam {_name_principal(arn)}"
    if subject := as_text(certificate.get("subjectDN")):
        # Not the serial number: a renewed certificate is the same caller's.
        return f"certificate {as_text(certificate.get('issuerDN'))}\n{subject}"
    if key := as_text(identity.get("apiKey")):
        # Its id differs between Regions, and the key itself is a secret.
        return f"key {sha256(key.encode()).hexdigest()}"
    return ""


def _name_principal(arn: str) -> str:
    """Account and role, user or root; an ARN of another form as it is."""
    if session := SESSION.fullmatch(arn):
        return f"{session[1]} role/{session[2]}"
    if principal := PRINCIPAL.fullmatch(arn):
        return f"{principal[1]} {principal[2]}"
    return arn


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Empty for anything else: an authorizer's context may have text by any name."""
    return value if isinstance(value, Mapping) else {}


def as_text(value: Any) -> str:
    """Empty for anything else."""
    return value if isinstance(value, str) else ""
