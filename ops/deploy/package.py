"""The Lambda package: project and locked dependencies, the same bytes from the same commit.

Zappa's own archive is taken from the active virtual environment, whatever that holds,
with bytecode that Python takes for stale (its entries are dated 1980). So this builds
the archive anew; nothing of Zappa's serves.
"""

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ops.deploy import left_out, sources
from ops.deploy.left_out import is_left_out
from ops.deploy.runtime import Target, export, require_interpreter
from ops.deploy.sources import LOCK, SHIPPED, PackageError, Sources
from ops.paths import PACKAGES, PROJECT

TASK_ROOT = "/var/task"
BUDGET = 15 * 2**20  # bytes; AWS refuses 50 MiB, cold starts suffer long before
FORBIDDEN = (
    ("*/.env*", "an environment file"), (".env*", "an environment file"),
    ("ops/*", "operators' code"), ("tests/*", "a test"), ("*/tests/*", "a test"),
    ("*/test_*.py", "a test"), ("*/conftest.py", "a test"),
    ("*.sqlite3", "a database"), (".git/*", "version control"),
    ("zappa_settings.json", "deployment settings"),
)  # fmt: skip
FOREIGN = (".dll", ".dylib", ".exe", ".pyd")
SECRETS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"
    rb"|\b(?:gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk_live_)[\w-]{20}"
)
SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DJANGO_SECRET_KEY")
ELF_MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine, ELF specification


@dataclass(frozen=True, slots=True)
class Package:
    """What was built. Sizes in bytes."""

    path: Path
    files: int
    zipped: int
    unzipped: int
    digest: str

    def __str__(self) -> str:
        return (
            f"Package {self.path.name}: {self.zipped / 2**20:.1f} MiB zipped, "
            f"{self.unzipped / 1e6:.1f} MB unzipped, {self.files} files, "
            f"sha256 {self.digest[:16]}"
        )


def build(
    archive: Path, target: Target, say: Callable[[str], None], *, bytecode: bool = True
) -> Package:
    """Replace Zappa's archive at that path. Raises PackageError."""
    python = require_interpreter(target) if bytecode else None
    project_files = sources.read(PROJECT)
    say(f"Packing the files of {project_files.origin} ...")
    if project_files.remark:
        say(project_files.remark)
    site = dependencies(target, requirements(project_files, target), python, say)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        _write_project(project_files, project)
        _check_secrets(project)
        _compile(project, python)
        entries = {**dict(_files(site)), **dict(_files(project))}
        check(entries, target)
        _write(archive, entries)
        package = _measure(archive, entries)
        if package.zipped > BUDGET:
            raise PackageError(
                f"{package} is over the budget of {BUDGET / 2**20:.0f} MiB. Largest: "
                f"{_largest(entries)}."
            )
    return package


def dependencies(
    target: Target, lock: str, python: Path | None, say: Callable[[str], None]
) -> Path:
    """A directory with the locked dependencies for Lambda, compiled; kept between builds.

    They never come from the active environment, which holds other things.
    """
    recipe = [lock, str(target), _describe(python)]
    recipe += [Path(str(part)).read_text() for part in (__file__, left_out.__file__)]
    site = PACKAGES / hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]
    installed = site.with_suffix(".sha256")
    if site.exists():
        if installed.exists() and installed.read_text() == _fingerprint(site):
            return site
        say(f"{site} is not as it was installed.")
        shutil.rmtree(site)
    say(f"Installing the locked dependencies for Lambda's {target.runtime} ...")
    PACKAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PACKAGES) as scratch:
        partial = Path(scratch, "site")
        _pip_install(lock, partial, target)
        for name, path in list(_files(partial)):
            if is_left_out(name):
                path.unlink()
        _compile(partial, python)
        installed.write_text(_fingerprint(partial))
        partial.rename(site)
    return site


def _fingerprint(directory: Path) -> str:
    """Changes with every name and every byte below the directory."""
    digest = hashlib.sha256()
    for name, path in _files(directory):
        digest.update(
            f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


def requirements(project: Sources, target: Target) -> str:
    """The pins of what is packaged, from the same commit as the project."""
    return export(project.files[LOCK].decode(), target)


def check(entries: Mapping[str, Path], target: Target) -> None:
    """Refuse what must never reach Lambda. Raises PackageError naming each file."""
    wrong = [
        f"{name} is {reason}" for name in entries for reason in _refusals(name)
    ] + [
        f"{name} is not a Linux {target.architecture} binary of {target.runtime}"
        for name, path in entries.items()
        if _is_binary(name) and not _runs_on(path, target)
    ]
    if wrong:
        raise PackageError(
            f"The package must not be deployed: {'; '.join(sorted(wrong))}."
        )


def _refusals(name: str) -> Iterator[str]:
    own = name.split("/", 1)[0] in (*SHIPPED, "ops", "tests") or "/" not in name
    for pattern, reason in FORBIDDEN:
        # Dependencies may name a module test_something; the project's are tests.
        if fnmatch.fnmatchcase(name, pattern) and (own or reason != "a test"):
            yield reason


def _check_secrets(project: Path) -> None:
    values = [os.environ.get(name, "").encode() for name in SECRET_VARIABLES]
    secrets = [value for value in values if len(value) >= 16]
    for name, path in _files(project):
        content = path.read_bytes()
        if SECRETS.search(content) or any(value in content for value in secrets):
            raise PackageError(
                f"{name} holds a secret: take it out and give it as a variable."
            )


def _is_binary(name: str) -> bool:
    return name.endswith(FOREIGN) or ".so" in PurePosixPath(name).suffixes


def _runs_on(path: Path, target: Target) -> bool:
    with path.open("rb") as binary:
        header = binary.read(20)
    if path.suffix in FOREIGN or header[:4] != b"\x7fELF":
        return False
    tagged = re.search(r"\.cpython-(\d+)", path.name)
    machine = int.from_bytes(header[18:20], "little")
    return machine == ELF_MACHINES[target.architecture] and (
        tagged is None or tagged[1] == target.tag
    )


def _write_project(project: Sources, target: Path) -> None:
    for name, content in project.files.items():
        if name != LOCK and not is_left_out(name):
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def _pip_install(wanted: str, site: Path, target: Target) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
        lock.write(wanted)
        lock.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input"),
                *("--disable-pip-version-check", "--no-compile", "--no-deps"),
                *("--only-binary=:all:", "--require-hashes", "--target", str(site)),
                *target.pip_options,
                *("--requirement", lock.name),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise PackageError(
            f"pip cannot install the locked dependencies for Lambda:\n{done.stderr.strip()}"
        )


def _compile(root: Path, python: Path | None) -> None:
    """Bytecode that is valid whatever the file's date (PEP 552, unchecked hash).

    A process of its own: what an interpreter has loaded changes the bytes it writes.
    Nothing without an interpreter of the function's version, which alone can.
    """
    if python is None:
        return
    done = subprocess.run(
        [
            *(str(python), "-I", "-m", "compileall", "-q", "-j1"),
            *("--invalidation-mode", "unchecked-hash"),
            *("-s", str(root), "-p", TASK_ROOT, str(root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"A module cannot be compiled:\n{done.stdout.strip()}")


def _describe(python: Path | None) -> str:
    """What the bytecode depends on."""
    if python is None:
        return ""
    return subprocess.run(
        [str(python), "-I", "-V", "-V"], capture_output=True, text=True, check=True
    ).stdout


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file's path inside the directory, in a stable order."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


def _write(archive: Path, entries: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name)  # dated 1980-01-01: no clock in the bytes
            info.create_system = 3  # Unix, so that the permissions count
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, entries[name].read_bytes())


def _measure(archive: Path, entries: Mapping[str, Path]) -> Package:
    digest, unzipped = hashlib.sha256(), 0
    for name in sorted(entries):
        content = entries[name].read_bytes()
        unzipped += len(content)
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return Package(
        archive, len(entries), archive.stat().st_size, unzipped, digest.hexdigest()
    )


def _largest(entries: Mapping[str, Path]) -> str:
    sizes: dict[str, int] = {}
    for name, path in entries.items():
        top = name.split("/", 1)[0]
        sizes[top] = sizes.get(top, 0) + path.stat().st_size
    ranked = sorted(sizes, key=lambda top: -sizes[top])[:3]
    return ", ".join(f"{top} {sizes[top] / 1e6:.1f} MB unzipped" for top in ranked)
