import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("off", False), ("", False)]
)
def test_reads_a_flag(value: str, expected: bool) -> None:
    assert env.flag("X", env={"X": value}) is expected


def test_an_unreadable_flag_names_the_variable() -> None:
    with pytest.raises(ImproperlyConfigured, match="X is 'maybe'; set it to one of"):
        env.flag("X", env={"X": "maybe"})


def test_words_drop_blanks() -> None:
    assert env.words("X", env={"X": " a, ,b "}) == ["a", "b"]


def test_a_value_outside_the_choices_names_them() -> None:
    with pytest.raises(ImproperlyConfigured, match="set it to one of a, b"):
        env.one_of("X", ("a", "b"), "a", env={"X": "c"})
