"""A small project in a git repository of its own, as a package is made from."""

import subprocess
from pathlib import Path

FILES = {
    "config/__init__.py": "",
    "users/__init__.py": "",
    "requirements/runtime.txt": "django==5.2\n",
}


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments],  # noqa: S607 - git is where the shell finds it
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def commit(root: Path) -> str:
    """Commit everything that lies there; returns the commit."""
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--no-verify", "--message", "a change")
    return git(root, "rev-parse", "HEAD")


def make(root: Path) -> Path:
    write(root, FILES)
    git(root, "init", "--quiet")
    commit(root)
    return root
