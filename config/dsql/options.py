"""Check DATABASES[…]: every setting is known, and none makes the token unsafe.

The password is a token that lets its bearer in, so it is sent only to the endpoint that it
names: always over TLS, with the certificate and its host name verified.
"""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import IsolationLevel

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
BACKEND_OPTIONS = {"region", "peer_host", *SECONDS}
# Django's own that may only be empty here, and what to do instead.
REFUSED_OPTIONS = {
    "assume_role": "DSQL refuses SET ROLE: set USER to the database role",
    "pool": "a pool opens connections in threads of its own, outside of the time limits "
    "and the failover of the request that needs them: keep connections with CONN_MAX_AGE",
}
# Of PostgreSQL's settings those that DSQL lets a session change, also when it starts.
SESSION_SETTINGS = {
    "application_name", "bytea_output", "client_encoding", "datestyle",
    "dsql.enable_batched_nestloop", "extra_float_digits", "intervalstyle", "search_path",
    "standard_conforming_strings", "timezone",
}  # fmt: skip
# What to use in the place of others.
INSTEAD = {
    "lock_timeout": "nothing ever waits for a lock",
    "role": "set USER to the database role",
    "statement_timeout": "OPTIONS['statement_seconds'] limits a statement",
    "transaction_timeout": "OPTIONS['request_seconds'] limits a request",
}
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
# The words of libpq's ``options``; a backslash takes the next character as it is.
WORD = re.compile(r"(?:\\.|\S)+", re.DOTALL)
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


def _parse_session_settings(options: str) -> Iterator[str]:
    """The names in libpq's ``options``; of another word than a setting, the word."""
    words = iter([re.sub(r"\\(.)", r"\1", word) for word in WORD.findall(options)])
    for word in words:
        setting = next(words, word) if word == "-c" else word
        name, equals, _ = re.sub(r"^(?:-c|--)", "", setting).partition("=")
        is_setting = setting is not word or word.startswith(("-c", "--"))
        yield name.replace("-", "_").lower() if is_setting and equals else word


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
        self.refuse()
        if unknown := sorted(set(self._options) - KNOWN - set(REFUSED_OPTIONS)):
            raise ImproperlyConfigured(
                f"{self._option(unknown[0])} is unknown; remove it. The known options are "
                f"{', '.join(sorted(KNOWN))}."
            )
        self._require_isolation()
        self._require_session_settings()
        for name in SECONDS:
            self.seconds(name)
        self._require_security()

    def refuse(self) -> None:
        """Raise for what Django's backend for PostgreSQL takes and this one does not."""
        for name, reason in REFUSED_OPTIONS.items():
            if self._options.get(name):
                raise ImproperlyConfigured(
                    f"{self._option(name)} is set, but {reason}. Remove the option."
                )

    def _require_isolation(self) -> None:
        name = "isolation_level"
        level = self._options.get(name, IsolationLevel.REPEATABLE_READ)
        if level != IsolationLevel.REPEATABLE_READ:
            raise ImproperlyConfigured(
                f"{self._option(name)} is {level!r}, but every transaction of DSQL is "
                f"REPEATABLE READ. Remove the option; SELECT … FOR UPDATE guards what a "
                f"transaction relies on."
            )

    def _require_session_settings(self) -> None:
        """Only those that DSQL takes when a session starts."""
        setting, text = self._option("options"), self._options.get("options")
        if text is None:
            setting, text = (
                "The environment variable PGOPTIONS",
                os.environ.get("PGOPTIONS"),
            )
        if not isinstance(text or "", str):
            raise ImproperlyConfigured(
                f"{setting} is {text!r}; set it to a text such as '-c search_path=a'."
            )
        for name in _parse_session_settings(text or ""):
            if name not in SESSION_SETTINGS:
                raise ImproperlyConfigured(
                    f"{setting} has {name}, which DSQL refuses; remove it"
                    f"{f': {INSTEAD[name]}' if name in INSTEAD else ''}. A session may set "
                    f"{', '.join(sorted(SESSION_SETTINGS))}."
                )

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
