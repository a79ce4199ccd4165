"""Typed reading of environment variables; every error names the variable."""

import os
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def text(name: str, default: str = "", *, env: Mapping[str, str] = os.environ) -> str:
    return env.get(name, default).strip()


def flag(
    name: str, *, default: bool = False, env: Mapping[str, str] = os.environ
) -> bool:
    value = env.get(name)
    if value is None:
        return default
    lowered = value.strip().lower()
    if lowered in TRUE:
        return True
    if lowered in FALSE:
        return False
    raise ImproperlyConfigured(
        f"{name} is {value!r}; set it to one of 1, true, yes, on, 0, false, no, off."
    )


def words(name: str, *, env: Mapping[str, str] = os.environ) -> list[str]:
    """A comma-separated list; blanks are dropped."""
    return [word for raw in env.get(name, "").split(",") if (word := raw.strip())]


def one_of(
    name: str,
    choices: tuple[str, ...],
    default: str,
    *,
    env: Mapping[str, str] = os.environ,
) -> str:
    value = env.get(name, default).strip()
    if value not in choices:
        raise ImproperlyConfigured(
            f"{name} is {value!r}; set it to one of {', '.join(choices)}."
        )
    return value


def log_level(name: str, default: str, *, env: Mapping[str, str] = os.environ) -> str:
    choices = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    upper = {name: env.get(name, default).upper()}
    return one_of(name, choices, default, env=upper)
