"""The glossary in CONTRIBUTING.md is obeyed by names, comments, messages and documents."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.paths import PROJECT

CONTRIBUTING = PROJECT / "CONTRIBUTING.md"
DIRECTORIES = ("config", "docs", "ops", "tests", "users")
SUFFIXES = {".html", ".json", ".md", ".py", ".toml", ".yaml", ".yml"}
# Words within one sentence: comments, names and adjacent literals go on over the lines.
GAP = r"""(?:[\s_#*]|f?["'])+"""
# Where a word is right all the same: (path, the line without its indentation).
ALLOWED: set[tuple[str, str]] = set()


def rows(text: str) -> Iterator[list[str]]:
    table = text.partition("| use | for | instead of |")[2]
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def replaced_words(text: str) -> list[str]:
    """What the third column has in ``code``."""
    return [word for row in rows(text) for word in re.findall(r"`([^`]+)`", row[2])]


def compile_words(words: list[str]) -> re.Pattern[str]:
    forms = "|".join(
        GAP.join(map(re.escape, word.split())) for word in sorted(words, key=len)
    )
    return re.compile(rf"(?<![^\W_])(?:{forms})(?:e?s)?(?![^\W_])", re.IGNORECASE)


def find_words(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, int]]:
    """Each word with its line; FoundCluster and found_cluster are two words each."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    for match in pattern.finditer(spaced):
        yield " ".join(match[0].split()), spaced.count("\n", 0, match.start()) + 1


def documents() -> Iterator[Path]:
    yield from (p for p in PROJECT.iterdir() if p.suffix in SUFFIXES)
    for directory in DIRECTORIES:
        for path in (PROJECT / directory).rglob("*"):
            if path.suffix in SUFFIXES and path.name != "recorded.json":
                yield path


def test_no_word_of_the_glossarys_third_column_is_used() -> None:
    pattern = compile_words(replaced_words(CONTRIBUTING.read_text()))
    problems, used = [], set()
    for path in sorted(documents()):
        if path in (CONTRIBUTING, Path(__file__)):
            continue
        name, text = str(path.relative_to(PROJECT)), path.read_text()
        for word, number in find_words(pattern, text):
            place = (name, text.splitlines()[number - 1].strip())
            used.add(place)
            if place not in ALLOWED:
                problems.append(f"{name}:{number}: {word}")
    assert not problems, "\n".join(
        ["See the glossary in CONTRIBUTING.md for the words to use:", *problems]
    )
    assert used >= ALLOWED, f"no longer needed: {ALLOWED - used}"


def test_the_glossary_has_about_thirty_rows_of_three_cells() -> None:
    lengths = [len(row) for row in rows(CONTRIBUTING.read_text())]
    assert set(lengths) == {3}
    assert 20 <= len(lengths) <= 40


@pytest.mark.parametrize(
    "text",
    [
        "# goes to its own\n    # endpoint", "def own_endpoint(): ...", "class OwnEndpoint:",
        "OWN_ENDPOINTS = 2", 'f"the own "\n        f"endpoint"',
    ],
)  # fmt: skip
def test_a_word_is_found_in_comments_names_and_messages(text: str) -> None:
    found = list(find_words(compile_words(["own endpoint"]), text))
    assert [line for _, line in found] == [1]


@pytest.mark.parametrize(
    "text", ["its known endpoint", "own the endpoint", "ownendpoint"]
)
def test_other_words_are_left_alone(text: str) -> None:
    assert not list(find_words(compile_words(["own endpoint"]), text))
