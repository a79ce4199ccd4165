import pytest
from django.core.exceptions import ImproperlyConfigured

from config.api.problem_types import PROBLEM_TYPES, ProblemType, register


def test_a_title_is_the_phrase_of_the_status_unless_one_is_given() -> None:
    assert ProblemType(404, "", "").title == "Not Found"
    assert ProblemType(403, "", "", title="Request Refused").title == "Request Refused"


def test_a_code_has_one_type_only() -> None:
    before = dict(PROBLEM_TYPES)
    register({"not_found": PROBLEM_TYPES["not_found"]})  # the same again
    with pytest.raises(ImproperlyConfigured, match="'not_found' is registered already"):
        register({"not_found": ProblemType(404, "Another meaning.", "")})
    assert before == PROBLEM_TYPES
