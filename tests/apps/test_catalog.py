"""The catalog is whole: each library is used, and what is known to fail is one of them."""

import re
from pathlib import Path

from tests.apps.catalog import APPS, STEPS
from tests.apps.known import KNOWN

USES = "".join(module.read_text() for module in Path(__file__).parent.glob("uses*.py"))


def test_each_library_has_a_use() -> None:
    used = set(re.findall(r'^(?:@use\(|USES\[)"([^"]+)"', USES, re.MULTILINE))
    assert used == set(APPS)


def test_what_fails_is_a_step_of_a_library_with_a_reason() -> None:
    for (name, step), reason in KNOWN.items():
        assert step in APPS[name].steps
        assert reason.endswith(".")
    assert STEPS == ("migrate", "use", "zero", "again")
