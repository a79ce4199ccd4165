"""The backend is typed strictly; where the stubs are wrong, a line says so."""

import re
import tomllib
from collections.abc import Iterator

from ops.paths import PROJECT

MAX_IGNORED = 60
IGNORED = re.compile(r"#\s*type:\s*ignore")
EXPLAINED = re.compile(r"# type: ignore\[[a-z-]+(, [a-z-]+)*\]  # \w.+$")


def ignored_lines() -> Iterator[str]:
    for path in sorted((PROJECT / "config/dsql").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if IGNORED.search(line):
                yield f"{path.relative_to(PROJECT)}:{number}: {line.strip()}"


def test_few_type_errors_are_ignored_each_with_its_code_and_a_reason() -> None:
    lines = list(ignored_lines())
    assert not [line for line in lines if not EXPLAINED.search(line)]
    assert len(lines) <= MAX_IGNORED


def test_no_override_relaxes_the_types_of_the_backend() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"]
    named = [name for each in settings.get("overrides", []) for name in each["module"]]
    assert not [name for name in named if name.startswith(("config.dsql", "config.*"))]
    sources = [path.read_text() for path in (PROJECT / "config/dsql").rglob("*.py")]
    assert not [text for text in sources if re.search(r"^# mypy: ", text, re.MULTILINE)]
