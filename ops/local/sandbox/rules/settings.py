"""Settings that a session may have: by SET, set_config() and start-up options alike."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from postgast import pg_query_pb2 as pg

from ops.local.sandbox.rules.assumptions import is_assumed
from ops.local.sandbox.rules.model import Kind, Refusal, Statement

# Only these may be changed; the rest are the cluster's business. ``sandbox.settable``
# (catalog.sql) has the same list.
SETTINGS = frozenset({
    "timezone", "search_path", "client_encoding", "datestyle", "intervalstyle",
    "application_name", "extra_float_digits", "dsql.enable_batched_nestloop",
    "standard_conforming_strings", "bytea_output",
})  # fmt: skip
SHOWN = {
    "server_version": "16.15",
    "server_version_num": "160015",
    "max_connections": "20",
}
# Start-up parameters that are no settings.
CONNECTION = {"user", "database", "options", "replication"}
UTF8 = {"utf8", "utf-8", "unicode"}


def build_setting_refusal(name: str) -> Refusal:
    message = f'setting configuration parameter "{name}" not supported'
    return Refusal("0A000", message)


def set_statement(sql: str, node: Any, is_async: bool) -> Statement:
    if node.kind == pg.VAR_RESET_ALL:
        return Statement(sql, Kind.SETTING)
    if node.name == "SESSION CHARACTERISTICS" and is_assumed("session-characteristics"):
        return Statement(sql, Kind.SETTING)
    allowed = node.name.lower() in SETTINGS
    if node.name.lower() == "client_encoding" and node.args:
        allowed = node.args[0].a_const.sval.sval.lower() in UTF8
    refusal = None if allowed else build_setting_refusal(node.name)
    return Statement(sql, Kind.SETTING, refusal)


def show_statement(sql: str, node: Any, is_async: bool) -> Statement:
    name = node.name.lower()
    if name in SHOWN:
        return Statement(f"SELECT '{SHOWN[name]}' AS {name}", Kind.READ, tag="SHOW")
    return Statement(sql, Kind.READ)


def find_startup_refusal(parameters: Mapping[str, str]) -> Refusal | None:
    """What a login is refused for: a parameter, or one in its ``options``."""
    names = [*parameters, *_options(parameters.get("options", ""))]
    for name in names:
        own = name.lower()
        if own not in SETTINGS | CONNECTION and not own.startswith("_pq_."):
            return build_setting_refusal(name)
    if parameters.get("client_encoding", "utf8").strip("'\"").lower() not in UTF8:
        return build_setting_refusal("client_encoding")
    return None


def _options(text: str) -> Iterator[str]:
    """The settings in ``-c name=value`` and ``--name=value``."""
    try:
        words = iter(shlex.split(text))
    except ValueError:
        yield text  # a quote without an end
        return
    for word in words:
        if word == "-c":
            yield next(words, "").partition("=")[0]
        elif word.startswith(("-c", "--")):
            yield word[2:].partition("=")[0].replace("-", "_")
        else:
            yield word
