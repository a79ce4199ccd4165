"""Everything outside the project that a deployment meets, on this machine."""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from moto.apigateway.responses import APIGatewayResponse
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from ops.local.sandbox import lifecycle
from ops.local.sandbox.state import State
from ops.topology import Topology
from tests.rehearsal import calls, runtimes
from tests.rehearsal.gateway import Functions, Internet
from tests.rehearsal.issuer import ServedIssuer
from tests.rehearsal.moto_gaps import repair
from tests.rehearsal.quotas import Quotas

ORIGIN = "https://app.example"
# What would lead a command elsewhere, or answer for what the rehearsal is to show.
HIDDEN = (
    "TARGET", "AWS_", "DSQL_", "DJANGO_", "PG", "LAMBDA_", "API_", "OIDC_", "LOG_",
)  # fmt: skip


class World:
    """AWS, DSQL and the Internet; ``environ`` is an operator's shell in it."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.folder = tempfile.TemporaryDirectory(prefix="rehearsal-")
        self.root = Path(self.folder.name)
        self.root.chmod(0o711)  # as root, PostgreSQL runs as another user inside it
        self.sandbox = lifecycle.up(
            self.root / "sandbox", topology=None, prefix=topology.prefix
        )
        self.keys = self._role_keys()
        repair()
        self.called = calls.record()
        self.quotas = Quotas()
        APIGatewayResponse.call_action = self.quotas.over(  # type: ignore[method-assign, assignment]
            APIGatewayResponse.call_action
        )
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.moto.start()
        self.functions = Functions(self._of_function)
        self.internet = Internet(self.functions, self.root)
        self.issuer = ServedIssuer(self.internet.certificates, self.root)
        chosen = {
            "CORS_ALLOWED_ORIGINS": ORIGIN,
            "API_AUTH": "none",
            "LAMBDA_RUNTIME": runtimes.choose_runtime(),
        }
        self.environ = {**plain_shell(), **self._aws(), **self._network(), **chosen}

    def close(self) -> None:
        self.functions.close()
        self.internet.close()
        self.issuer.close()
        self.moto.stop()
        lifecycle.reset(self.root / "sandbox")
        self.folder.cleanup()

    def _role_keys(self) -> dict[str, dict[str, str]]:
        """The credentials of each function's role, by its ARN."""
        state = State.load(self.root / "sandbox")
        assert state is not None
        return {
            key.arn: {
                "AWS_ACCESS_KEY_ID": key.access_key,
                "AWS_SECRET_ACCESS_KEY": key.secret_key,
            }
            for key in state.keys
        }

    def _aws(self) -> dict[str, str]:
        host, port = self.moto.get_host_and_port()
        return {
            **self.sandbox.credentials,
            "TARGET": "aws",
            "TARGET_KEEPS_ENDPOINT_URLS": "1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ENDPOINT_URL_DSQL": f"http://127.0.0.1:{self.sandbox.port}",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _network(self) -> dict[str, str]:
        authority = str(self.internet.certificates.authority)
        return {
            **self._database(),
            "HTTPS_PROXY": self.internet.url,
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": authority,
            "REQUESTS_CA_BUNDLE": authority,
            "CURL_CA_BUNDLE": authority,
        }

    def _database(self) -> dict[str, str]:
        return {
            "PGHOSTADDR": "127.0.0.1",
            "PGPORT": str(self.sandbox.port),
            "PGSSLROOTCERT": str(self.sandbox.sslrootcert),
        }

    def _of_function(self, region: str, role: str) -> dict[str, Any]:
        """What Lambda itself gives: the Region and the role's credentials; and the network."""
        return {
            "AWS_REGION": region,
            "SSL_CERT_FILE": str(self.internet.certificates.authority),
            **self.keys[role],
            **self._database(),
        }


def plain_shell() -> dict[str, str]:
    """The shell's variables without those that name another AWS or database."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(HIDDEN)}
    # manage.py reads a .env where a variable is missing: these must not come from it.
    return {**kept, "DSQL_ENDPOINT": "", "DSQL_PEER_ENDPOINT": ""}
