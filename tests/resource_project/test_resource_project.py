"""A second resource adds files, and edits only the lists of apps and of URLs."""

import subprocess
import sys
from typing import Any

from ops.paths import PROJECT
from tests import settings as served
from tests.resource_project import settings

CASES = "tests/resource_project/notes_cases.py"


def named(module: Any) -> dict[str, Any]:
    return {name: getattr(module, name) for name in vars(module) if name.isupper()}


def test_the_project_differs_in_its_lists_of_apps_and_of_urls_only() -> None:
    before, after = named(served), named(settings)
    del after["SERVED_APPS"]
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"INSTALLED_APPS", "ROOT_URLCONF"}


def test_the_second_resource_has_all_that_the_first_one_has() -> None:
    """In a process of its own: a model belongs to the apps of its process."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "--ds=tests.resource_project.settings", CASES,
        ],
        capture_output=True, text=True, check=False, timeout=300, cwd=PROJECT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
