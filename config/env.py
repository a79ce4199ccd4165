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
            f"{name} is {value!r}; set it to one of {', '.join(filter(None, choices))}."
        )
    return value


def some_of(
    name: str,
    choices: tuple[str, ...],
    default: list[str],
    *,
    env: Mapping[str, str] = os.environ,
) -> list[str]:
    found = words(name, env=env) or default
    if unknown := [word for word in found if word not in choices]:
        raise ImproperlyConfigured(
            f"{name} has {', '.join(unknown)}; use some of {', '.join(choices)}."
        )
    return found


def whole(name: str, default: int, *, env: Mapping[str, str] = os.environ) -> int:
    value = env.get(name, "").strip()
    if not (value.isascii() and value.isdigit()) and value:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to a whole number.")
    return int(value) if value else default


def log_level(name: str, default: str, *, env: Mapping[str, str] = os.environ) -> str:
    choices = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    upper = {name: env.get(name, default).upper()}
    return one_of(name, choices, default, env=upper)
