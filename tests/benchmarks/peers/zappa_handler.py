"""Zappa's handler around a Django project, as a deployment runs it."""

import logging
import sys
from types import ModuleType
from typing import Any


def handler(application: str, settings: str) -> Any:
    """``application`` is module:attribute of a WSGI application."""
    module, _, function = application.partition(":")
    made = ModuleType("zappa_settings")
    made.__dict__.update(
        DEBUG=False, LOG_LEVEL="INFO", BINARY_SUPPORT=True, CONTEXT_HEADER_MAPPINGS={},
        ADDITIONAL_TEXT_MIMETYPES=["application/problem+json"], ENVIRONMENT_VARIABLES={},
        EXCEPTION_HANDLER=None, PROJECT_NAME="benchmark", API_STAGE="prod", DOMAIN=None,
        BASE_PATH=None, DJANGO_SETTINGS=settings, APP_MODULE=module, APP_FUNCTION=function,
        COGNITO_TRIGGER_MAPPING={}, AWS_EVENT_MAPPING={}, ASYNC_RESPONSE_TABLE="",
    )  # fmt: skip
    sys.modules["zappa_settings"] = made
    from zappa.handler import LambdaHandler

    logging.getLogger("zappa").setLevel(logging.WARNING)  # every peer logs its own line
    return LambdaHandler.lambda_handler
