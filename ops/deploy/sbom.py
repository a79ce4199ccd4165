"""A software bill of materials (CycloneDX) of the Lambda package, from the locks alone.

Run as ``python -m ops.deploy.sbom FILE``, which ``make sbom`` does.
"""

import subprocess
import sys
from pathlib import Path

from ops.deploy.options import default_runtime
from ops.deploy.runtime import Target, export
from ops.deploy.sources import LOCK, PackageError
from ops.paths import PROJECT


def write(path: Path) -> None:
    """Raises PackageError."""
    pins = export((PROJECT / LOCK).read_text(), Target(default_runtime(), "x86_64"))
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("cyclonedx-py")), "requirements"),
            *("--pyproject", str(PROJECT / "pyproject.toml")),
            *("--output-reproducible", "--output-file", str(path), "-"),
        ],
        input=pins,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"The bill of materials was not written:\n{done.stderr}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
