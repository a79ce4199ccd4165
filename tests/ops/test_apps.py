"""Nothing runs without a target, whichever program begins it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.paths import PROJECT

PROGRAMS = {
    "python -m django": (sys.executable, "-m", "django"),
    "django-admin": (str(Path(sys.executable).with_name("django-admin")),),
}


def run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    base = {k: v for k, v in os.environ.items() if k not in {"TARGET", "DSQL_SANDBOX"}}
    return subprocess.run(
        [*PROGRAMS[program], "iam_policy", "runtime", "--account", "123456789012"],
        cwd=PROJECT,
        env={
            **base,
            "DJANGO_SETTINGS_MODULE": "config.settings_ops",
            "DJANGO_SECRET_KEY": "x" * 50,
            "PYTHONPATH": str(PROJECT),
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_djangos_own_runs_with_a_named_target_only(program: str) -> None:
    refused = run(program)
    assert refused.returncode
    assert "No target is named: use manage.py" in refused.stderr
    done = run(program, TARGET="aws")
    assert done.returncode == 0, done.stderr
