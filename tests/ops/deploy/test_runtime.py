"""The function's Python: what is installed for it, and which one compiles for it."""

import os
import re
import sys
from pathlib import Path

import pytest

from ops.deploy.options import default_runtime
from ops.deploy.runtime import (
    Target,
    export,
    find_interpreter,
    require_interpreter,
)
from ops.deploy.sources import LOCK, PackageError
from ops.paths import PROJECT

HERE = "{}.{}".format(*sys.version_info)
LOCKED = """\
always==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
old==2.0 ; python_full_version < '3.13' \\
    --hash=sha256:bb
new[binary]==3.0 ; python_version >= '3.13' \\
    --hash=sha256:cc
split==1.0 ; python_version < '3.12' \\
    --hash=sha256:d1
split==2.0 ; python_version >= '3.12' \\
    --hash=sha256:d2
windows==4.0 ; sys_platform == 'win32' \\
    --hash=sha256:ee
intel==5.0 ; platform_machine == 'x86_64' \\
    --hash=sha256:ff
pypy==6.0 ; platform_python_implementation == 'PyPy' \\
    --hash=sha256:gg
late==7.0 ; python_full_version >= '3.13.1' \\
    --hash=sha256:hh
"""


@pytest.mark.parametrize(
    ("runtime", "architecture", "names"),
    [
        ("python3.11", "x86_64", "always==1.0 old==2.0 split==1.0 intel==5.0"),
        ("python3.12", "x86_64", "always==1.0 old==2.0 split==2.0 intel==5.0"),
        ("python3.13", "x86_64",
         "always==1.0 new[binary]==3.0 split==2.0 intel==5.0 late==7.0"),
        ("python3.13", "arm64", "always==1.0 new[binary]==3.0 split==2.0 late==7.0"),
    ],
)  # fmt: skip
def test_the_exported_list_is_the_targets_whatever_python_exports_it(
    runtime: str, architecture: str, names: str
) -> None:
    exported = export(LOCKED, Target(runtime, architecture))
    assert re.findall(r"^\S+", exported, re.MULTILINE) == names.split()
    assert ";" not in exported
    assert "always==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n" in exported


def test_what_is_packaged_is_the_runtime_lock_without_zappa_and_boto() -> None:
    lock = (PROJECT / LOCK).read_text()
    text = export(lock, Target("python3.13", "x86_64"))
    for name in ("django==", "psycopg-binary==", "pyjwt=="):
        assert f"\n{name}" in f"\n{text}"
    for name in (
        "zappa",
        "werkzeug",
        "boto3",
        "botocore",
        "pytest",
        "typing-extensions",
    ):
        assert f"\n{name}==" not in f"\n{text}"
    old = export(lock, Target("python3.12", "x86_64"))
    assert "\ntyping-extensions==" in old


def test_every_package_of_the_exported_list_has_hashes() -> None:
    text = export((PROJECT / LOCK).read_text(), Target("python3.13", "arm64"))
    pins = re.findall(r"^\S+==.*$", text, re.MULTILINE)
    assert pins
    assert all(pin.endswith(" \\") for pin in pins)


@pytest.mark.parametrize(
    "runtime", ["python3.10", "python3", "python4.0", "nodejs22.x", "python3.13 ", ""]
)
def test_another_runtime_is_refused(runtime: str) -> None:
    with pytest.raises(PackageError, match=r"use python3\.11 or newer"):
        Target(runtime, "x86_64")


def test_another_architecture_is_refused() -> None:
    with pytest.raises(PackageError, match="use x86_64 or arm64"):
        Target("python3.13", "riscv64")


def test_the_default_runtime_is_pinned() -> None:
    assert default_runtime() == "python3.13"


@pytest.mark.parametrize(
    ("runtime", "architecture", "platforms"),
    [
        ("python3.11", "x86_64", ["manylinux2014_x86_64"]),
        ("python3.13", "x86_64",
         ["manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"]),
        ("python3.13", "arm64",
         ["manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"]),
    ],
)  # fmt: skip
def test_wheels_are_those_of_the_runtimes_system(
    runtime: str, architecture: str, platforms: list[str]
) -> None:
    options = Target(runtime, architecture).pip_options
    assert options[: len(platforms)] == [f"--platform={name}" for name in platforms]
    assert f"--python-version={runtime.removeprefix('python')}" in options


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    found = folder / name
    found.write_text(f"#!/bin/sh\n{text}\n")
    found.chmod(0o755)
    return found


def test_this_python_compiles_for_its_own_version() -> None:
    assert find_interpreter(Target(f"python{HERE}", "x86_64")) == Path(sys.executable)


def test_the_first_that_runs_is_taken_not_the_first_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version manager's shim is found, and ends with 127 where no version is chosen."""
    program(tmp_path / "shims", "python3.99", "echo 'not installed' >&2; exit 127")
    program(tmp_path / "other", "python3.99", "echo pypy 3.99")
    program(tmp_path / "older", "python3.99", "echo cpython 3.98")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "python3.99").write_text("no program")
    right = program(tmp_path / "real", "python3.99", "echo cpython 3.99")
    folders = ["shims", "other", "older", "broken", "absent", "real"]
    path = os.pathsep.join(str(tmp_path / name) for name in folders)
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    assert find_interpreter(Target("python3.99", "x86_64")) == right
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    assert find_interpreter(Target("python3.99", "x86_64")) is None
    with pytest.raises(PackageError, match=r"Install Python 3\.99.*NO_BYTECODE=1"):
        require_interpreter(Target("python3.99", "x86_64"))
