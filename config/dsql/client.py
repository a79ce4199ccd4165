"""``manage.py dbshell``: psql with a fresh token."""

from django.db.backends.postgresql import client

from config.dsql.tokens import TOKENS, Endpoint


class DatabaseClient(client.DatabaseClient):
    @classmethod
    def settings_to_cmd_args_env(cls, settings_dict, parameters):
        args, env = super().settings_to_cmd_args_env(settings_dict, parameters)
        if options := settings_dict["OPTIONS"].get("options"):  # the schema of NAME
            env = {**(env or {}), "PGOPTIONS": options}
        return args, env

    def runshell(self, parameters):
        params = self.connection.get_connection_params()
        endpoint = Endpoint(params["host"], params["region"], params["user"])
        settings = {
            "HOST": params["host"],
            "PORT": params.get("port", ""),
            "USER": params["user"],
            "NAME": params["dbname"],
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
