"""Names in the length that PostgreSQL takes, and what stays of them."""

import pytest
from django.db.backends.utils import truncate_name

from config.dsql.ddl import sql

MARK = "__dsql_new"


@pytest.mark.parametrize("letter", ["a", "я", "列", "🙂"])
@pytest.mark.parametrize("length", [1, 13, 15, 26, 30, 53, 54, 63])
def test_a_marked_name_fits_whole_whatever_bytes_its_letters_take(
    letter: str, length: int
) -> None:
    marked = sql.mark_name(letter * length, MARK)
    assert marked.endswith(MARK)
    assert sql.cut_name(marked) == marked
    assert "\ufffd" not in marked


def test_names_that_are_alike_up_to_the_cut_stay_apart() -> None:
    names = [f"{'примечание_' * 5}{end}" for end in ("первое", "второе")]
    assert len({sql.cut_name(name) for name in names}) == 1
    assert len({sql.mark_name(name, MARK) for name in names}) == 2


@pytest.mark.parametrize("length", [1, 52, 53, 54, 63])
def test_names_of_ascii_are_marked_as_they_always_were(length: int) -> None:
    name = "x" * length
    assert sql.mark_name(name, MARK) == f"{truncate_name(name, 63 - len(MARK))}{MARK}"


def test_a_name_is_unquoted_and_cut_as_the_catalog_has_it() -> None:
    assert sql.unquote('"a""b"') == 'a"b'
    assert sql.unquote("я" * 40) == "я" * 31
