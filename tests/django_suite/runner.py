"""The test runner inside Django's suite: every test's outcome, as JSON."""

import json
import os
import unittest
from pathlib import Path
from typing import Any

from django.test.runner import DiscoverRunner

OUTCOMES = "DJANGO_SUITE_OUTCOMES"  # names the file


class Recorder(unittest.TextTestResult):
    """``outcomes``: by test id, the outcome and for a skip its reason."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, tuple[str, str]] = {}

    def _record(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        known = self.outcomes.get(test.id(), ("ok", ""))
        if known[0] == "ok":
            self.outcomes[test.id()] = (outcome, text)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().addSuccess(test)
        self._record(test, "ok")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._record(test, "error", f"{err[0].__name__}: {err[1]}")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._record(test, "fail", f"{err[0].__name__}: {err[1]}")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._record(test, "skip", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addExpectedFailure(test, err)
        self._record(test, "ok")

    def addSubTest(  # noqa: N802
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any
    ) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._record(test, "fail", f"{err[0].__name__}: {err[1]}")


class Runner(DiscoverRunner):
    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return Recorder

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        Path(os.environ[OUTCOMES]).write_text(json.dumps(result.outcomes))
        return super().suite_result(suite, result, **kwargs)
