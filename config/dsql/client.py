"""``manage.py dbshell``: psql with a fresh token, which it sends over verified TLS only."""

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client
from psycopg.conninfo import make_conninfo

from .options import LIBPQ_OPTIONS, SECURITY
from .tokens import TOKENS, Endpoint

# Those that every version of psql knows, and that no argument or variable carries.
HANDED_ON = LIBPQ_OPTIONS - {
    "client_encoding", "load_balance_hosts", "options", "port", "sslnegotiation", "sslrootcert",
}  # fmt: skip


class DatabaseClient(client.DatabaseClient):
    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        args, env = super().settings_to_cmd_args_env(settings_dict, parameters)
        if options := settings_dict["OPTIONS"].get("options"):  # the schema of NAME
            env = {**(env or {}), "PGOPTIONS": options}
        return args, env

    @staticmethod
    def _conninfo(params: dict[str, Any]) -> str:
        """The database, and what the environment or a service file must not change."""
        handed_on = {name: params[name] for name in HANDED_ON if params.get(name)}
        secure = {name: params[name] for name in SECURITY}
        return make_conninfo(dbname=params["dbname"], **{**handed_on, **secure})

    def runshell(self, parameters: Iterable[str]) -> None:
        params = self.connection.get_connection_params()
        endpoint = Endpoint(params["host"], params["region"], params["user"])
        settings = {
            "HOST": params["host"],
            "PORT": params.get("port", ""),
            "USER": params["user"],
            "NAME": self._conninfo(params),
            "PASSWORD": TOKENS.issue(endpoint),
            "OPTIONS": {
                key: params[key]
                for key in ("options", "sslmode", "sslrootcert")
                if key in params
            },
        }
        original = self.connection.settings_dict
        self.connection.settings_dict = settings
        try:
            super().runshell(parameters)
        finally:
            self.connection.settings_dict = original
