"""What each feature and each middleware of this API costs a POST, in client CPU."""

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from config.api.access import SCOPES
from ops.local.issuer import Issuer, serving
from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure
from tests.benchmarks.frameworks import (
    FULL,
    QUICK,
    Plan,
    build_own_environ,
    measure_warm,
)
from tests.benchmarks.peers import tls
from tests.benchmarks.peers.function import Installed, Variant
from tests.benchmarks.peers.packages import OURS, install_ours, install_runtime
from tests.benchmarks.peers.report import Warm

__all__ = ["QUICK", "measure"]

SETTINGS = Path(__file__).parent / "peers" / "own_settings.py"
CROSS_ORIGIN = {"CORS_ALLOWED_ORIGINS": "https://app.example.com"}


def measure(status: Status, plan: Plan = FULL) -> list[Figure]:
    """Each alone against its absence, in turns."""
    with tempfile.TemporaryDirectory(prefix="features-") as scratch:
        root = Path(scratch)
        ours = install_ours(root, install_runtime())
        shutil.copy(SETTINGS, ours.task)
        with (
            serving(Issuer.load(root / "issuer.pem", port=0)) as issuer,
            tls.serving(status) as direct,
        ):
            variants = list(build_variants(direct, ours, issuer))
            taken = measure_warm(variants, "", plan, ("POST",))
    features, middleware = variants[1:4], variants[4:]
    return [
        *(cost(taken, each.name, each.name, OURS) for each in features),
        *(cost(taken, m.name.rpartition(".")[2], OURS, m.name) for m in middleware),
    ]


def build_variants(
    status: Status, ours: Installed, issuer: Issuer
) -> Iterator[Variant]:
    """As it is compared, then each feature on, then each middleware left out."""
    environ = build_own_environ(status)
    token = issuer.token(subject="x", scopes=tuple(SCOPES), minutes=60)
    signed_in = {"Authorization": f"Bearer {token}"}
    yield Variant(OURS, ours, environ)
    yield Variant("access token", ours, environ | issuer.environ, signed_in)
    yield Variant("rate limit", ours, environ | {"API_RATE_LIMIT": "1000000"})
    yield Variant("cross-origin access", ours, environ | CROSS_ORIGIN)
    for name in settings.MIDDLEWARE:
        if not name.startswith("corsheaders."):
            without = {
                "DJANGO_SETTINGS_MODULE": SETTINGS.stem,
                "WITHOUT_MIDDLEWARE": name,
            }
            yield Variant(name, ours, environ | without)


def cost(taken: Warm, name: str, with_it: str, without_it: str) -> Figure:
    more, less = taken[with_it]["POST"], taken[without_it]["POST"]
    spent = statistics.median(a - b for a, b in zip(more, less, strict=True))
    return Figure(f"POST, cost of {name}", spent * 1000, "us")
