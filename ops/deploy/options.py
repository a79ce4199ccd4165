"""The choices of the operator for a deployment, read from the environment."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click import ClickException
from django.core.exceptions import ImproperlyConfigured

from config import env as environment
from ops.deploy.runtime import NO_BYTECODE
from ops.paths import PROJECT
from ops.topology import PRIMARY

NONE = "none"  # the API_AUTH that lets everyone in
ZAPPA_SETTINGS = PROJECT / "zappa_settings.json"

# Set for both functions where they are set for the operator.
PASSED_ON = (
    "API_AUTH", "API_RATE_LIMIT", "CORS_ALLOWED_ORIGINS", "LOG_LEVEL", "OIDC_ALGORITHMS",
    "OIDC_AUDIENCE", "OIDC_ISSUER", "OIDC_JWKS_URL", "REQUIRE_IF_MATCH", "XRAY_SUBSEGMENTS",
)  # fmt: skip
# Zappa's settings that may be added to those of zappa_settings.json. The others make or
# change things by their names (roles, rules, tables, balancers, user pools), open ways in
# beside the public stage, or set what the checks before a deployment would not see.
ADJUSTABLE = {
    "api_key", "api_key_required", "apigateway_policy", "architecture", "authorizer",
    "aws_kms_key_arn", "cache_cluster_enabled", "cache_cluster_encrypted",
    "cache_cluster_size", "cache_cluster_ttl", "dead_letter_arn", "delete_local_zip",
    "delete_s3_zip", "ephemeral_storage", "extends", "iam_authorization",
    "lambda_concurrency", "layers", "provisioned_concurrency", "runtime", "snap_start",
    "vpc_config",
}  # fmt: skip
STAGE = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Options:
    """Memory in MiB, timeout in seconds, the name of the public stage, the API's variables.

    The token is the operator's, for the check at the end; no function gets it.
    """

    memory: int
    timeout: int
    public_stage: str
    allowed_hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]
    passed: Mapping[str, str]
    runtime: str = ""  # instead of zappa_settings.json's
    bytecode: bool = True
    token: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> "Options":
        """Raises ImproperlyConfigured naming the variable that is wrong."""
        public_stage = environment.text("API_GATEWAY_STAGE", "prod", env=env)
        if not STAGE.fullmatch(public_stage):
            raise ImproperlyConfigured(
                f"API_GATEWAY_STAGE is {public_stage!r}; use letters, digits, hyphens and underscores."
            )
        return cls(
            memory=_number("LAMBDA_MEMORY_SIZE", 512, 128, 10240, env),
            timeout=_number("LAMBDA_TIMEOUT", 30, 1, 900, env),
            public_stage=public_stage,
            allowed_hosts=tuple(environment.words("ALLOWED_HOSTS", env=env)),
            cors_origins=tuple(environment.words("CORS_ALLOWED_ORIGINS", env=env)),
            passed={name: env[name].strip() for name in PASSED_ON if name in env},
            runtime=environment.text("LAMBDA_RUNTIME", env=env),
            bytecode=not environment.flag(NO_BYTECODE, env=env),
            token=environment.text("API_TOKEN", env=env),
        )

    @property
    def access(self) -> str:
        """Who may call: the value of API_AUTH."""
        return self.passed.get("API_AUTH", "")

    def require_access(self) -> None:
        """Raise ImproperlyConfigured unless API_AUTH says who may call the API."""
        if not self.access:
            raise ImproperlyConfigured(
                "API_AUTH is not set. Choose who may call: API_AUTH=oidc with OIDC_ISSUER and "
                "OIDC_AUDIENCE, or API_AUTH=none to let everyone in."
            )

    def require_token(self) -> None:
        """Raise ImproperlyConfigured when the final check would have no token to call with."""
        if self.access != NONE and not self.token:
            raise ImproperlyConfigured(
                "API_TOKEN is not set. A deployment ends by creating a user in one Region and "
                "reading it in the other, and the API requires a token: set API_TOKEN to one of "
                f"{self.passed.get('OIDC_ISSUER', '').strip()} for "
                f"{self.passed.get('OIDC_AUDIENCE', '').strip()} with the scopes users:read and "
                "users:write. Nothing was changed."
            )

    def who_may_call(self) -> str:
        """Who may call, in words."""
        if self.access == NONE:
            return "everyone who reaches the APIs may read and change every user (API_AUTH=none)"
        issuer, audience = (
            self.passed.get(name, "") for name in ("OIDC_ISSUER", "OIDC_AUDIENCE")
        )
        return (
            f"holders of an access token of {issuer} for {audience}, as far as its scopes go "
            f"(API_AUTH=oidc)"
        )


def unfit_settings(settings: Mapping[str, Any]) -> list[str]:
    """The names of Zappa's settings that a deployment must not have."""
    own = json.loads(ZAPPA_SETTINGS.read_text())[PRIMARY]
    known = {name for name, value in own.items() if value} | ADJUSTABLE
    return sorted(
        name for name, value in settings.items() if value and name not in known
    )


def default_runtime() -> str:
    """The runtime that zappa_settings.json pins."""
    runtime: str = json.loads(ZAPPA_SETTINGS.read_text())[PRIMARY]["runtime"]
    return runtime


def uses_vpc(role: str, settings_file: Path) -> bool:
    """Whether Zappa, with that settings file, puts the function of the role into a VPC.

    Raises ImproperlyConfigured when the file cannot be read or lacks the role.
    """
    from zappa.cli import ZappaCLI  # only here: it takes a third of a second

    if not settings_file.is_file():
        raise ImproperlyConfigured(
            f"{settings_file}: the settings file does not exist; name another."
        )
    cli = ZappaCLI()
    cli.api_stage = role
    try:
        cli.load_settings_file(str(settings_file))
        return bool(cli.stage_config.get("vpc_config"))
    except (ClickException, ValueError, KeyError) as error:
        raise ImproperlyConfigured(
            f"{settings_file}: the settings of {role} cannot be read: {error}"
        ) from error


def _number(
    name: str, default: int, low: int, high: int, env: Mapping[str, str]
) -> int:
    text = environment.text(name, str(default), env=env)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ImproperlyConfigured(
            f"{name} is {text!r}; set it to a whole number from {low} to {high}."
        )
    return int(text)
