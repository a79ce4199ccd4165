"""What the operator may choose for a deployment, read from the environment."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config import env as environment
from ops.paths import PROJECT

# Set for both functions where they are set for the operator.
PASSED = (
    "API_AUTH", "API_RATE_LIMIT", "CORS_ALLOWED_ORIGINS", "LOG_LEVEL", "OIDC_ALGORITHMS",
    "OIDC_AUDIENCE", "OIDC_ISSUER", "OIDC_JWKS_URL", "REQUIRE_IF_MATCH", "XRAY_SUBSEGMENTS",
)  # fmt: skip
STAGE = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Options:
    """Memory in MiB, timeout in seconds, the public stage's name, the API's variables."""

    memory: int
    timeout: int
    stage: str
    allowed_hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]
    passed: Mapping[str, str]

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> "Options":
        """Raises ImproperlyConfigured naming the variable that is wrong."""
        stage = environment.text("API_GATEWAY_STAGE", "prod", env=env)
        if not STAGE.fullmatch(stage):
            raise ImproperlyConfigured(
                f"API_GATEWAY_STAGE is {stage!r}; use letters, digits, hyphens and underscores."
            )
        return cls(
            memory=_number("LAMBDA_MEMORY_SIZE", 512, 128, 10240, env),
            timeout=_number("LAMBDA_TIMEOUT", 30, 1, 900, env),
            stage=stage,
            allowed_hosts=tuple(environment.words("ALLOWED_HOSTS", env=env)),
            cors_origins=tuple(environment.words("CORS_ALLOWED_ORIGINS", env=env)),
            passed={name: env[name] for name in PASSED if name in env},
        )

    def require_access(self) -> None:
        """Raise ImproperlyConfigured unless it was chosen who may call the API."""
        if not self.passed.get("API_AUTH"):
            raise ImproperlyConfigured(
                "API_AUTH is not set. Choose who may call: API_AUTH=oidc with OIDC_ISSUER and "
                "OIDC_AUDIENCE, or API_AUTH=none to let everyone in."
            )


def in_vpc(stage: str) -> bool:
    """Whether zappa_settings.json puts that stage's function into a VPC."""
    settings: dict[str, dict[str, Any]] = json.loads(
        (PROJECT / "zappa_settings.json").read_text()
    )
    merged = {**settings["common"], **settings[stage]}
    return bool(merged.get("vpc_config"))


def _number(
    name: str, default: int, low: int, high: int, env: Mapping[str, str]
) -> int:
    text = environment.text(name, str(default), env=env)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ImproperlyConfigured(
            f"{name} is {text!r}; set it to a whole number from {low} to {high}."
        )
    return int(text)
