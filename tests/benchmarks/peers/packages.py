"""Every peer as Lambda gets it: a zip of its own dependencies and files, unpacked.

The dependencies are what the installed distributions say they need here, in the versions
of requirements/bench.txt. boto3 and botocore are in no zip: Lambda's runtime has them.
"""

import compileall
import hashlib
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.paths import PROJECT
from tests.benchmarks.peers.function import Installed, PeerFailed

APPS = Path(__file__).with_name("apps")
LOCK = PROJECT / "requirements" / "bench.txt"
CACHE = PROJECT / ".cache" / "benchmarks"
OURS = "this API"
RUNTIME = ("boto3", "awslambdaric")
# What a package on Lambda needs none of: the runtime's own, and what installs.
LEFT_OUT = {"boto3", "botocore", "s3transfer", "pip", "setuptools", "wheel"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a peer's zip is made of."""

    name: str
    roots: tuple[str, ...]
    files: tuple[str, ...]
    handler: str
    at_top: tuple[str, ...] = field(default=())


DATABASE = "psycopg[binary]"
APP = "tests.benchmarks.peers.apps"
RECIPES = (
    Recipe("floor", (DATABASE,), ("floor.py",), f"{APP}.floor.handler"),
    Recipe(
        "Powertools", (DATABASE, "aws-lambda-powertools", "pydantic"),
        ("powertools_app.py",), f"{APP}.powertools_app.handler",
    ),
    Recipe(
        "FastAPI", (DATABASE, "fastapi", "mangum", "sqlalchemy"),
        ("fastapi_app.py",), f"{APP}.fastapi_app.handler",
    ),
    Recipe(
        "django-ninja", (DATABASE, "django-ninja", "zappa"),
        ("ninja_app.py", "ninja_settings.py"), "zappa.handler.lambda_handler",
        ("zappa_settings.py",),
    ),
    Recipe(
        "DRF by hand", (DATABASE, "djangorestframework", "msgspec"),
        ("drf_app.py", "drf_settings.py"), f"{APP}.drf_app.handler",
    ),
)  # fmt: skip


def install_all(root: Path) -> list[Installed]:
    """The floor, this API and the other peers, unpacked below ``root``."""
    runtime = install_runtime()
    floor, *others = (install(recipe, root, runtime) for recipe in RECIPES)
    return [floor, install_ours(root, runtime), *others]


def install_runtime() -> Path:
    """What Lambda's own interpreter can import before any package."""
    return install_site(find_needed(RUNTIME))


def install(recipe: Recipe, root: Path, runtime: Path) -> Installed:
    site = install_site(find_needed(recipe.roots) - LEFT_OUT)
    files = {
        f"{APP.replace('.', '/')}/{n}": n for n in (*recipe.files, "statements.py")
    }
    files |= {name: name for name in recipe.at_top}
    contents = {path: (APPS / name).read_bytes() for path, name in files.items()}
    archive = CACHE / f"{compute_digest(site.name, *contents.values())}.zip"
    if not archive.exists():
        build_zip(site, contents, archive)
    task = unpack(archive, root / recipe.handler)
    size = archive.stat().st_size
    return Installed(recipe.name, task, recipe.handler, runtime, size)


def build_zip(site: Path, contents: Mapping[str, bytes], archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        own, partial = Path(scratch, "own"), Path(scratch, "partial.zip")
        for name, content in contents.items():
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            (own / name).write_bytes(content)
        compile_tree(own)
        write_zip((site, own), partial)
        partial.rename(archive)


def install_ours(root: Path, runtime: Path) -> Installed:
    """What ``zappa package`` builds of the last commit for this interpreter."""
    archive = root / "ours.zip"
    zappa = str(Path(sys.executable).with_name("zappa"))
    runtime_name = "python{}.{}".format(*sys.version_info)
    environ = {**os.environ, "LAMBDA_RUNTIME": runtime_name}
    run([zappa, "package", "primary", "--output", str(archive)], environ)
    settings = json.loads((PROJECT / "zappa_settings.json").read_text())
    handler = settings["primary"]["lambda_handler"]
    size = archive.stat().st_size
    return Installed(OURS, unpack(archive, root / "ours"), handler, runtime, size)


def find_needed(roots: Iterable[str]) -> set[str]:
    """The roots and all that they need on this interpreter. Raises PeerFailed."""
    waiting, seen = [Requirement(root) for root in roots], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            needed = map(Requirement, distribution(name).requires or ())
        except PackageNotFoundError:
            raise PeerFailed(f"{name} is not installed: run `make bench`") from None
        waiting += [
            each
            for each in needed
            if each.marker is None
            or any(each.marker.evaluate({"extra": e}) for e in ("", *extras))
        ]
    return {name for name, _ in seen}


def parse_lock(text: str) -> dict[str, str]:
    """The pin of each distribution, with its hashes."""
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    return {re.split(r"[=\[ ]", block, maxsplit=1)[0]: block for block in blocks}


def install_site(names: set[str]) -> Path:
    """A directory with these distributions; kept between runs."""
    lock = parse_lock(LOCK.read_text())
    pins = "".join(lock[name] for name in sorted(names))
    site = CACHE / compute_digest(pins, sys.version, sys.platform)
    if site.exists():
        return site
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        pinned, partial = Path(scratch, "pins.txt"), Path(scratch, "site")
        pinned.write_text(pins)
        run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input"),
                *("--disable-pip-version-check", "--no-compile", "--no-deps"),
                *("--require-hashes", "--target", str(partial), "-r", str(pinned)),
            ]
        )
        shutil.rmtree(partial / "bin", ignore_errors=True)
        compile_tree(partial)
        partial.rename(site)
    return site


def compute_digest(*parts: str | bytes) -> str:
    """Changes with any of the parts and with how they are built."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for part in parts:
        digest.update(b"\0" + (part.encode() if isinstance(part, str) else part))
    return digest.hexdigest()[:16]


def compile_tree(directory: Path) -> None:
    """Bytecode that is valid whatever the file's date (PEP 552), as ours is."""
    compileall.compile_dir(
        directory, quiet=2, workers=1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def write_zip(directories: Iterable[Path], archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for directory in directories:
            for path in sorted(directory.rglob("*")):
                if path.is_file():
                    out.write(path, path.relative_to(directory))


def unpack(archive: Path, task: Path) -> Path:
    """With the archive's dates, as Lambda unpacks it: they decide what is stale."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(task)
        for info in packed.infolist():
            moment = time.mktime((*info.date_time, 0, 0, -1))
            os.utime(task / info.filename, (moment, moment))
    return task


def run(command: list[str], environ: Mapping[str, str] | None = None) -> None:
    """Raises PeerFailed with what the command printed."""
    done = subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PeerFailed(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
