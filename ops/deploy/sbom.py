"""A software bill of materials (CycloneDX) of the Lambda package, from the locks alone.

Run as ``python -m ops.deploy.sbom FILE``, which ``make sbom`` does.
"""

import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from ops.deploy.package import pins
from ops.deploy.sources import LOCKS, PackageError
from ops.paths import PROJECT

# What decides a marker where the function runs; versions are this interpreter's, which
# is that of the function (package.Target).
LAMBDA = {
    "os_name": "posix",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}


def write(path: Path) -> None:
    """Raises PackageError."""
    locks = [(PROJECT / name).read_text() for name in LOCKS]
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("cyclonedx-py")), "requirements"),
            *("--pyproject", str(PROJECT / "pyproject.toml")),
            *("--output-reproducible", "--output-file", str(path), "-"),
        ],
        input="".join(block for block in pins(*locks) if _applies(block)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"The bill of materials was not written:\n{done.stderr}")


def _applies(block: str) -> bool:
    marker = Requirement(block.splitlines()[0].removesuffix("\\")).marker
    return marker is None or marker.evaluate(LAMBDA)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
