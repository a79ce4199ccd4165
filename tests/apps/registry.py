"""Which function uses which library: filled by the modules of uses."""

from collections.abc import Callable
from typing import Any

from django.apps import apps

Use = Callable[[], None]
USES: dict[str, Use] = {}


def use(name: str) -> Callable[[Use], Use]:
    def add(function: Use) -> Use:
        USES[name] = function
        return function

    return add


def sample(name: str) -> Any:
    return apps.get_model("sample", name)
