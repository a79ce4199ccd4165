"""Modules and functions stay short enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ops.paths import PROJECT

DIRECTORIES = ("config", "ops", "tests", "users")
MODULE_LINES, FUNCTION_LINES = 400, 60


def modules() -> Iterator[Path]:
    for directory in DIRECTORIES:
        for path in sorted((PROJECT / directory).rglob("*.py")):
            if path.parent.name != "migrations":  # Django writes them
                yield path


def function_sizes(source: str) -> Iterator[tuple[str, int]]:
    """Each function's name and lines, without its decorators: tests have tables there."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_module_has_more_than_400_lines() -> None:
    sizes = {
        str(path.relative_to(PROJECT)): len(path.read_text().splitlines())
        for path in modules()
    }
    assert not {name for name, lines in sizes.items() if lines > MODULE_LINES}


def test_no_function_has_more_than_60_lines() -> None:
    assert not [
        f"{path.relative_to(PROJECT)}: {name} has {lines} lines"
        for path in modules()
        for name, lines in function_sizes(path.read_text())
        if lines > FUNCTION_LINES
    ]


def test_a_functions_lines_are_counted_to_its_end() -> None:
    source = "@mark\ndef f():\n    '''Text.'''\n\n    return 1\n\n\nx = 2\n"
    assert list(function_sizes(source)) == [("f", 4)]
