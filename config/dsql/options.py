"""Check DATABASES[…]: every setting is known, and none makes the token unsafe.

The password is a token that lets its bearer in, so it is sent only to the endpoint that it
names: always over TLS, with the certificate and its host name verified.
"""

import math
import os
import re
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .tokens import parse_region

AMAZON_ROOTS = Path(__file__).with_name("amazon-roots.pem")
# Set whatever the environment or a service file says. GSSAPI encryption would replace
# TLS, and so its verification.
SECURITY = {
    "sslmode": "verify-full",
    "gssencmode": "disable",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
}
STRICTER = {"ssl_min_protocol_version": ("TLSv1.3",)}
# Defaults of libpq's parameters; OPTIONS may override each.
DEFAULTS = {
    "tcp_user_timeout": 10_000,  # milliseconds until a silent peer counts as gone
    "keepalives_idle": 30,
}
# Seconds; None in OPTIONS is no limit. Their sum leaves time within API Gateway's 29 s.
SECONDS: dict[str, float] = {
    "return_seconds": 15.0,  # mean time between two probes of a lost endpoint
    "statement_seconds": 8.0,  # from sending a statement to the end of its response
    "login_seconds": 3.0,  # until a new connection has logged in
    "request_seconds": 25.0,  # for one request, attempts at the peer included
}
BACKEND_OPTIONS = {"region", "peer_host", "pool", *SECONDS}
# Not assume_role: DSQL refuses SET ROLE.
DJANGO_OPTIONS = {
    "cursor_factory",
    "isolation_level",
    "prepare_threshold",
    "server_side_binding",
}
LIBPQ_OPTIONS = {
    "application_name", "client_encoding", "connect_timeout", "fallback_application_name", "hostaddr",
    "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval",
    "load_balance_hosts", "options", "port", "sslcrl", "sslcrldir",
    "ssl_max_protocol_version", "sslnegotiation", "sslrootcert", "tcp_user_timeout",
    *SECURITY,
}  # fmt: skip
KNOWN = BACKEND_OPTIONS | DJANGO_OPTIONS | LIBPQ_OPTIONS
# One name: a path or "@" would be a Unix socket, where libpq uses no TLS.
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
DATABASE = "postgres"  # the only one of a cluster
SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def parse_schema(name: str | None) -> str | None:
    """The schema in a NAME of the form ``postgres.<schema>``; None for ``postgres``.

    Raises ImproperlyConfigured for any other name.
    """
    database, _, schema = (name or DATABASE).partition(".")
    if database == DATABASE and not schema:
        return None
    if database == DATABASE and SCHEMA_NAME.fullmatch(schema):
        return schema
    raise ImproperlyConfigured(
        f"NAME is {name!r}, but a DSQL cluster has one database: use 'postgres', or "
        f"'postgres.<schema>' to work in another schema than public."
    )


class MissingEndpoint(ImproperlyConfigured):
    """HOST is empty: a project that has its own way to an endpoint can name it."""


class Options:
    """The settings of one database. Every method raises ImproperlyConfigured."""

    def __init__(self, alias: str, settings: dict[str, Any]) -> None:
        self._name = f"DATABASES[{alias!r}]"
        self._host = settings["HOST"]
        self._options = settings["OPTIONS"]

    def validate(self) -> None:
        """Check what can be checked without the driver's parameters."""
        if not self._host:
            raise MissingEndpoint(
                f"{self._name}['HOST'] is empty; set it to the cluster's endpoint, "
                f"<id>.dsql.<region>.on.aws."
            )
        self._require_host(f"{self._name}['HOST']", self._host)
        if self._options.get("pool"):
            raise ImproperlyConfigured(
                f"{self._option('pool')} is set, but a pool cannot "
                f"renew the token that is a connection's password; remove it and keep "
                f"connections with CONN_MAX_AGE."
            )
        if unknown := sorted(set(self._options) - KNOWN):
            raise ImproperlyConfigured(
                f"{self._option(unknown[0])} is unknown; remove it. The known options are "
                f"{', '.join(sorted(KNOWN - {'pool'}))}."
            )
        for name in SECONDS:
            self.seconds(name)
        self._require_security()

    def seconds(self, name: str) -> float:
        """The value of one of SECONDS; infinite for None."""
        value = self._options.get(name, SECONDS[name])
        if value is None and name != "return_seconds":
            return math.inf
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise ImproperlyConfigured(
                f"{self._option(name)} is {value!r}; set it to a number of seconds "
                f"above 0; the default is {SECONDS[name]:g}."
            )
        return float(value)

    def region(self) -> str:
        named, found = self._options.get("region"), parse_region(self._host)
        if named and found and named != found:
            raise ImproperlyConfigured(
                f"{self._name} has OPTIONS['region'] {named!r} but HOST {self._host!r} "
                f"is in {found!r}; remove the option or set it to {found!r}."
            )
        if not (named or found):
            raise ImproperlyConfigured(
                f"{self._name}['HOST'] is {self._host!r}, which names no Region; use "
                f"<id>.dsql.<region>.on.aws or set OPTIONS['region']."
            )
        return str(named or found)

    def peer(self) -> str | None:
        peer = self._options.get("peer_host")
        if not peer:
            return None
        option = self._option("peer_host")
        self._require_host(option, peer)
        if parse_region(peer) is None:
            raise ImproperlyConfigured(
                f"{option} is {peer!r}, which names no Region; set it to the other "
                f"Region's <id>.dsql.<region>.on.aws or remove it."
            )
        if peer == self._host:
            raise ImproperlyConfigured(
                f"{option} is {peer!r}, and so is HOST; set it to the other Region's "
                f"endpoint or remove it."
            )
        return str(peer)

    def add_security(self, params: dict[str, Any]) -> dict[str, Any]:
        """The driver's parameters with those that protect the token."""
        chosen = {name: params.get(name) or value for name, value in SECURITY.items()}
        found = {**DEFAULTS, **params, **chosen}
        if not os.environ.get("PGSSLROOTCERT") and not found.get("sslrootcert"):
            found["sslrootcert"] = str(AMAZON_ROOTS)
        return found

    def _option(self, name: str) -> str:
        return f"{self._name}['OPTIONS'][{name!r}]"

    @staticmethod
    def _require_host(setting: str, host: Any) -> None:
        if not isinstance(host, str) or not HOST.fullmatch(host):
            raise ImproperlyConfigured(
                f"{setting} is {host!r}; set it to one host name, such as "
                f"<id>.dsql.<region>.on.aws."
            )

    def _require_security(self) -> None:
        for name, value in SECURITY.items():
            allowed = (value, *STRICTER.get(name, ()))
            if name in self._options and self._options[name] not in allowed:
                raise ImproperlyConfigured(
                    f"{self._option(name)} is {self._options[name]!r}; set it to "
                    f"{value!r} or remove it. The password is a token that lets its "
                    f"bearer in, so it is sent over verified TLS only."
                )
