"""Cold starts: our package against Zappa's default one and against a one-file handler.

CPU of init, the first GET /health and the first GET of a user, each in a fresh process
with nothing but the unpacked package on its path; rounds interleave the peers and every
ratio is taken inside its round.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.deploy import sources
from ops.deploy.package import dependencies, requirements
from ops.deploy.runtime import Target
from ops.local.sandbox import lifecycle
from ops.paths import PROJECT
from tests.benchmarks.figures import Figure, compare
from tests.rehearsal import runtimes

ROUNDS = 9
OF_DEFAULT, OF_ONE_FILE = 0.33, 4.0
CHILD = Path(__file__).with_name("coldstart_child.py")
ONE_FILE = Path(__file__).with_name("peers") / "onefile.py"
DEFAULT_SETTINGS = {
    "bench": {
        "project_name": "bench", "django_settings": "config.settings",
        "aws_region": "us-east-1",
    }
}  # fmt: skip
CREATE_USER = (
    "import django; django.setup(); from users.models import User; "
    "print(User.objects.create(name='Ada', email='ada@example.com').id)"
)


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to serve: its unpacked package and handler."""

    name: str
    task: Path
    handler: str
    environ: Mapping[str, str]
    zipped: int = 0


def measure(status: lifecycle.Status) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="coldstart-") as scratch:
        root = Path(scratch)
        environ = served(status)
        peers = [ours(root), default(root), one_file(root)]
        user = f"/users/{run([sys.executable, '-c', CREATE_USER], environ).strip()}"
        found: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
        for _ in range(ROUNDS):
            for peer in peers:
                found[peer.name].append(cold_start(peer, user, environ))
    return figures(peers, found)


def cold_start(peer: Peer, user: str, environ: Mapping[str, str]) -> dict[str, float]:
    """A fresh process; -B, for /var/task is read-only and keeps no new bytecode."""
    python = str(runtimes.interpreter(runtimes.choose_runtime()))
    command = [python, "-B", "-I", "-S", str(CHILD), str(peer.task)]
    output = run([*command, peer.handler, user], {**environ, **peer.environ})
    spent: dict[str, float] = json.loads(output.splitlines()[-1])
    return spent


def served(status: lifecycle.Status) -> dict[str, str]:
    """The environment of a function with the migrated database behind it."""
    return {
        "PATH": os.environ["PATH"],
        **status.environ(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DJANGO_SECRET_KEY": "k" * 50,
        "ALLOWED_HOSTS": ".amazonaws.com",
        "API_AUTH": "none",
    }


def ours(root: Path) -> Peer:
    archive = root / "ours.zip"
    zappa = str(Path(sys.executable).with_name("zappa"))
    environ = {**os.environ, "LAMBDA_RUNTIME": runtimes.choose_runtime()}
    run([zappa, "package", "primary", "--output", str(archive)], environ)
    return Peer(
        "this package",
        unpacked(archive),
        "config.on_lambda.handler.lambda_handler",
        {"LOG_FORMAT": "json"},
        archive.stat().st_size,
    )


def default(root: Path) -> Peer:
    """The same application as ``zappa package`` ships it without any packing settings."""
    project, venv = root / "project", root / "venv"
    for folder in ("config", "users"):
        shutil.copytree(
            PROJECT / folder, project / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )  # fmt: skip
    (project / "zappa_settings.json").write_text(json.dumps(DEFAULT_SETTINGS))
    environ = {**os.environ, "VIRTUAL_ENV": str(venv)}
    base = str(runtimes.interpreter(runtimes.choose_runtime()))
    run([base, "-m", "venv", str(venv)], environ)
    python = str(venv / "bin" / "python")
    lock = PROJECT / "requirements" / "deploy.txt"
    install = ["install", "--quiet", "--require-hashes", "-r", str(lock)]
    run([python, "-m", "pip", *install], environ)
    archive = root / "default.zip"
    zappa = str(venv / "bin" / "zappa")
    run([zappa, "package", "bench", "--output", str(archive)], environ, cwd=project)
    return Peer(
        "zappa's default", unpacked(archive), "handler.lambda_handler", {},
        archive.stat().st_size,
    )  # fmt: skip


def one_file(root: Path) -> Peer:
    task = root / "onefile"
    target = Target(runtimes.choose_runtime(), "x86_64")
    python = runtimes.interpreter(target.runtime)
    lock = requirements(sources.read(PROJECT), target)
    shutil.copytree(dependencies(target, lock, python, print), task)
    shutil.copy(ONE_FILE, task)
    compiling = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    run([str(python), *compiling, str(task / ONE_FILE.name)], {})
    return Peer("one file", task, "onefile.handler", {})


def unpacked(archive: Path) -> Path:
    """With the archive's dates, as Lambda unpacks it: they decide what is stale."""
    task = archive.with_suffix("")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(task)
        for info in packed.infolist():
            moment = time.mktime((*info.date_time, 0, 0, -1))
            os.utime(task / info.filename, (moment, moment))
    return task


def run(command: list[str], environ: Mapping[str, str], cwd: Path = PROJECT) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def total(found: Mapping[str, float]) -> float:
    return found["init"] + found["health"] + found["get"]


def figures(
    peers: list[Peer], found: Mapping[str, list[dict[str, float]]]
) -> list[Figure]:
    own, default_peer, file_peer = (peer.name for peer in peers)
    totals = {
        name: [total(each) * 1000 for each in runs] for name, runs in found.items()
    }
    shown = [
        compare(totals, own, default_peer, at_most=OF_DEFAULT),
        compare(totals, own, file_peer, at_most=OF_ONE_FILE),
    ]
    for peer in peers:
        runs = found[peer.name]
        for phase in ("init", "health", "get"):
            spent = statistics.median(each[phase] for each in runs) * 1000
            shown.append(Figure(f"{peer.name}: {phase}", spent, "ms"))
        resident = statistics.median(each["rss"] for each in runs) / 1e6
        shown.append(Figure(f"{peer.name}: RSS", resident, "MB"))
        if peer.zipped:
            shown.append(Figure(f"{peer.name}: zip", peer.zipped / 2**20, "MiB"))
    return shown
