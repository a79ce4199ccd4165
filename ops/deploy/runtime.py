"""The function's Python: its platform, the wheels for it, and an interpreter like it here."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from ops.deploy.sources import PackageError

NO_BYTECODE = "NO_BYTECODE"  # the variable that `manage.py deploy --no-bytecode` sets
RUNTIME = re.compile(r"python3\.(\d{1,2})")
OLDEST = 11  # pyproject.toml, requires-python
# glibc of the runtimes' systems: Amazon Linux 2 to Python 3.11, 2023 from 3.12 on.
MANYLINUX_2, MANYLINUX_2023 = ("2014",), ("2014", "_2_28", "_2_34")
WHEEL_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
PROBE = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
PROBE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Target:
    """What the function runs on: Lambda's runtime and architecture names."""

    runtime: str
    architecture: str

    def __post_init__(self) -> None:
        found = RUNTIME.fullmatch(self.runtime)
        if found is None or int(found[1]) < OLDEST:
            raise PackageError(
                f"The function's runtime is {self.runtime!r}; use python3.{OLDEST} or newer."
            )
        if self.architecture not in WHEEL_MACHINES:
            raise PackageError(
                f"The function's architecture is {self.architecture!r}; use x86_64 or arm64."
            )

    @property
    def version(self) -> str:
        return self.runtime.removeprefix("python")

    @property
    def tag(self) -> str:
        """As in the names of extension modules: "313"."""
        return self.version.replace(".", "")

    @property
    def pip_options(self) -> list[str]:
        is_old = self.version == "3.11"
        versions = MANYLINUX_2 if is_old else MANYLINUX_2023
        machine = WHEEL_MACHINES[self.architecture]
        platforms = [f"--platform=manylinux{version}_{machine}" for version in versions]
        return [*platforms, f"--python-version={self.version}", "--implementation=cp"]

    @property
    def markers(self) -> Mapping[str, str]:
        """What environment markers are judged by there (PEP 508).

        pip judges them by the Python that runs it, whatever --python-version says.
        """
        full = f"{self.version}.99"  # Lambda keeps to the newest of a version
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": WHEEL_MACHINES[self.architecture],
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.version,
            "sys_platform": "linux",
        }


def export(lock: str, target: Target) -> str:
    """The lock's pins that apply on the target, without their markers."""
    return "".join(_exported(lock, target))


def _exported(lock: str, target: Target) -> Iterator[str]:
    for block in re.split(r"^(?=\S)", lock, flags=re.MULTILINE):
        pin, newline, hashes = block.partition("\n")
        if not pin.strip() or pin.startswith("#"):
            continue
        requirement = Requirement(pin.rstrip().removesuffix("\\"))
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate(dict(target.markers)):
            more = " \\" if hashes.strip() else ""
            yield f"{requirement}{more}{newline}{hashes}"


def find_interpreter(target: Target) -> Path | None:
    """A Python of the target's version that runs: this one, or one of PATH.

    One that is found need not run: a version manager's shim ends with an error.
    """
    directories = os.environ.get("PATH", os.defpath).split(os.pathsep)
    named = [
        Path(directory, f"python{target.version}")
        for directory in directories
        if directory
    ]
    for candidate in dict.fromkeys([Path(sys.executable), *named]):
        if _is_version(candidate, target.version):
            return candidate
    return None


def require_interpreter(target: Target) -> Path:
    """Raises PackageError when the package would have no bytecode."""
    found = find_interpreter(target)
    if found is None:
        raise PackageError(
            f"No Python {target.version} runs here, and only the function's own version "
            f"makes its bytecode, without which a cold start takes three times as long. "
            f"Install Python {target.version} or put it on PATH; to ship without bytecode, "
            f"give `manage.py deploy --no-bytecode`, or set {NO_BYTECODE}=1 for zappa."
        )
    return found


def _is_version(candidate: Path, version: str) -> bool:
    if not candidate.is_file():
        return False
    try:
        done = subprocess.run(
            [str(candidate), "-I", "-c", PROBE],
            capture_output=True, text=True, check=False, timeout=PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.split() == ["cpython", version]
