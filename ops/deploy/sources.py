"""The files of the project that go into a package: exactly those of the commit.

Their content comes from git too, so an uncommitted change never ships. An archive of the
project has no git: there a committed manifest names the files.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.ownership import NotReady

SHIPPED = ("config", "users")
LOCK = "requirements/runtime.txt"
MANIFEST = "ops/deploy/manifest.txt"
# What Python itself leaves between the files; it is never packaged.
BYTECODE = re.compile(r"(.*/)?__pycache__/[^/]+\.pyc(\.\d+)?")
REGULAR = {"100644", "100755"}  # a tree's other modes are links and submodules
MAX_NAMES = 20  # in one message
# Read-only, without replaced objects; paths are not patterns.
QUIET = ("--no-optional-locks", "--no-replace-objects", "--literal-pathspecs")


class PackageError(NotReady):
    """The package cannot be built, or must not be deployed; says what to do."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The content of each file by its path, and where it comes from."""

    origin: str
    files: Mapping[str, bytes]
    remark: str  # for the operator; empty when there is nothing to say


def read(root: Path) -> Sources:
    """Raises PackageError, which names every offending file."""
    sources = _read_commit(root) or _read_manifest(root)
    strays = sorted(set(_present(root)) - set(sources.files))
    if strays:
        directories = " and ".join(f"{name}/" for name in SHIPPED)
        remedy = "Move" if sources.origin == MANIFEST else "Commit them, or move"
        raise PackageError(
            f"These files are not in {sources.origin}: {_listed(strays)}. A package holds only "
            f"files that are in it. {remedy} them out of {directories}."
        )
    return sources


def _read_commit(root: Path) -> Sources | None:
    """The files of HEAD; None where no git repository holds this project."""
    if not any(map(_is_repository, (root, *root.parents))):
        return None
    commit = _git(root, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    listed = os.fsdecode(
        _git(root, "ls-tree", "-r", "-z", commit, "--", *SHIPPED, LOCK)
    )
    if not listed:  # an archive that was unpacked inside of another repository
        return None
    entries = [entry.split("\t", 1) for entry in listed.split("\0") if entry]
    objects = {path: description.split() for description, path in entries}
    if odd := sorted(p for p, (mode, *_) in objects.items() if mode not in REGULAR):
        raise PackageError(
            f"No regular files: {_listed(odd)}. A package holds no links and no submodules."
        )
    names = [name for _, _, name in objects.values()]
    files = dict(zip(objects, _blobs(root, names), strict=True))
    origin = f"commit {commit[:12]}"
    return Sources(origin, files, _uncommitted(root, origin))


def _is_repository(directory: Path) -> bool:
    """As git decides: a .git without HEAD, which some tools leave, does not count."""
    found = directory / ".git"
    return found.is_file() or (found / "HEAD").exists()


def _blobs(root: Path, names: Iterable[str]) -> Iterator[bytes]:
    requested = "".join(f"{name}\n" for name in names).encode()
    output = _git(root, "cat-file", "--batch", stdin=requested)
    position = 0
    while position < len(output):
        end = output.index(b"\n", position)
        size = int(output[position:end].split()[2])
        yield output[end + 1 : end + 1 + size]
        position = end + size + 2  # each content ends with a line feed of its own


def _uncommitted(root: Path, origin: str) -> str:
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".")
    if changed := [line[3:] for line in os.fsdecode(status).splitlines()]:
        return (
            f"The working tree is dirty: {_listed(changed)}. The package holds what {origin} "
            f"has, without these changes."
        )
    return ""


def _read_manifest(root: Path) -> Sources:
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise PackageError(
            f"Neither git nor {MANIFEST} says which files belong in the package: use a "
            f"checkout or a whole archive of the project."
        )
    try:
        names = manifest.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise PackageError(f"{MANIFEST} cannot be read: {error}.") from error
    place = root.resolve()
    # Neither a link in the path nor a ".." may lead to another file.
    missing = [
        name for name in names
        if not (place / name).is_file() or (place / name).resolve() != place / name
        or ".." in Path(name).parts
    ]  # fmt: skip
    if missing:
        raise PackageError(
            f"Named by {MANIFEST} but missing, or no regular files: {_listed(missing)}."
        )
    return Sources(
        MANIFEST,
        {name: (root / name).read_bytes() for name in names},
        f"There is no git here: the package holds the files that {MANIFEST} names. Whether they "
        f"were changed since the release is unknown.",
    )


def _present(root: Path) -> Iterator[str]:
    """Every file below the packaged directories; links are not followed."""
    for shipped in SHIPPED:
        for directory, directories, names in os.walk(root / shipped):
            links = [name for name in directories if Path(directory, name).is_symlink()]
            for name in (*names, *links):
                path = Path(directory, name).relative_to(root).as_posix()
                if not BYTECODE.fullmatch(path):
                    yield path


def _git(root: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """The output of git. Raises PackageError."""
    git = shutil.which("git")
    if git is None:
        raise PackageError(
            "git is not installed, and the package holds the files of the commit: install it."
        )
    # A hook's variables would lead to another index or repository.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        [git, *QUIET, *arguments],
        cwd=root, env={**environ, "LC_ALL": "C"},
        input=stdin, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise PackageError(
            f"git cannot read the commit: {done.stderr.decode().strip()}. Commit "
            f"first, or fix this."
        )
    return done.stdout


def _listed(names: Iterable[str]) -> str:
    """The names as text; only the first ones of very many."""
    first = list(names)
    more = len(first) - MAX_NAMES
    return ", ".join(first[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
