"""Which Python make and the CI take: one that runs, not one that is found."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.paths import PROJECT

MAKE, BASH = (shutil.which(name) for name in ("make", "bash"))
pytestmark = pytest.mark.skipif(MAKE is None or BASH is None, reason="needs make, bash")


def programs(folder: Path, *running: str, found: tuple[str, ...] = ()) -> str:
    """A PATH with Pythons that run, and with some that are found and do not."""
    folder.mkdir(exist_ok=True)
    for name in (*running, *found):
        program = folder / name
        program.write_text(f"#!/bin/sh\nexit {0 if name in running else 127}\n")
        program.chmod(0o755)
    return str(folder)


def chosen(path: str) -> str:
    done = subprocess.run(
        [str(MAKE), "--no-print-directory", "-f", "-", "show"],
        input='include Makefile\nshow: ; @true && echo "$(PYTHON)"\n',
        cwd=PROJECT, env={"PATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(done.stdout.strip()).name


@pytest.mark.parametrize(
    ("running", "found", "taken"),
    [
        (("python3.11", "python3.12", "python3.13"), (), "python3.13"),
        (("python3.11", "python3.12"), ("python3.13",), "python3.12"),
        (("python3.11",), ("python3.12", "python3.13"), "python3.11"),
        (("python3",), ("python3.11", "python3.12", "python3.13"), "python3"),
        ((), ("python3.13", "python3"), ""),
    ],
)
def test_make_takes_the_newest_python_that_runs(
    tmp_path: Path, running: tuple[str, ...], found: tuple[str, ...], taken: str
) -> None:
    assert chosen(programs(tmp_path / "bin", *running, found=found)) == taken


@pytest.mark.parametrize(
    ("running", "found", "runs"),
    [
        (("python3.11", "python3.12", "python3.13"), (),
         ["check 3.13 .venv", "test 3.13 .venv", "test 3.11 .cache/venv-3.11",
          "test-slow 3.13 .venv"]),
        (("python3.11",), ("python3.12", "python3.13"),
         ["check 3.11 .venv", "test 3.11 .venv", "test-slow 3.11 .venv"]),
        ((), ("python3.13",), ["check  .venv", "test  .venv", "test-slow  .venv"]),
    ],
)  # fmt: skip
def test_ci_runs_the_oldest_and_the_newest_that_run(
    tmp_path: Path, running: tuple[str, ...], found: tuple[str, ...], runs: list[str]
) -> None:
    path = programs(tmp_path / "bin", "chromedriver", *running, found=found)
    log = tmp_path / "log"
    make = tmp_path / "bin" / "make"
    make.write_text(
        '#!/bin/sh\npython= venv=\nfor each; do case "$each" in\n'
        "PYTHON=python*) python=${each#PYTHON=python};;\nVENV=*) venv=${each#VENV=};;\n"
        f'esac; done\necho "$1 $python $venv" >> {log}\n'
    )
    make.chmod(0o755)
    dirname = shutil.which("dirname")
    assert dirname
    (tmp_path / "bin" / "dirname").symlink_to(dirname)
    subprocess.run(
        [str(BASH), str(PROJECT / ".ci" / "run")], env={"PATH": path}, check=True,
        stdout=subprocess.DEVNULL, cwd=os.sep,
    )  # fmt: skip
    assert log.read_text().splitlines() == runs
