"""Zappa's command line, as far as the callbacks read it."""

import sys
from types import SimpleNamespace
from typing import Any


class Cli:
    """The part of Zappa's command object that the callback may touch."""

    def __init__(self, command: str, stage: str = "primary") -> None:
        self.command, self.api_stage = command, stage
        self.load_credentials = command != "package"
        self.runtime = "python{}.{}".format(*sys.version_info)
        self.architecture = "x86_64"
        self.vargs = {"settings_file": None}
        self.stage_config: dict[str, Any] = {}
        self.zappa = SimpleNamespace()
        self.aws_region, self.lambda_name = "us-east-1", f"multi-region-app-{stage}"
        self.told: dict[str, Any] = {}
        self.session: Any = "not loaded"

    def override_stage_config_setting(self, name: str, value: Any) -> None:
        self.told[name] = value

    def load_settings(self, settings_file: str | None, session: Any) -> None:
        self.session = session
