"""What problems say must be true."""

import pytest
from django.db import InterfaceError, OperationalError

from config.api.problem_types import PROBLEM_TYPES
from config.api.problems import problem_from_database_error
from config.dsql.conflicts import ConnectionLost, OutcomeUnknown
from config.dsql.retry import ConflictRetriesExhausted


@pytest.mark.parametrize(
    "code", [code for code, kind in PROBLEM_TYPES.items() if kind.status >= 500]
)
def test_each_failure_says_whether_the_request_was_done(code: str) -> None:
    meaning = PROBLEM_TYPES[code].meaning
    assert ("nothing was done" in meaning) != ("unknown" in meaning)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OperationalError(), "nothing was done"), (InterfaceError(), "nothing was done"),
     (ConnectionLost(), "nothing was done"), (OutcomeUnknown(), "unknown"),
     (ConflictRetriesExhausted(), "nothing was done")],
)  # fmt: skip
def test_a_response_says_it_as_its_kind_does(error: Exception, said: str) -> None:
    problem = problem_from_database_error(error)
    assert said in str(problem.detail)
    assert said in PROBLEM_TYPES[problem.code].meaning
    # What may have been done, no program must repeat by itself.
    assert ("Retry-After" in problem.headers) == (said != "unknown")
