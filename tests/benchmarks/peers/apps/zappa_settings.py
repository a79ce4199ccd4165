"""What ``zappa package`` writes for Zappa's own handler, which serves django-ninja."""

DEBUG = False
LOG_LEVEL = "WARNING"  # no access log
BINARY_SUPPORT = True
CONTEXT_HEADER_MAPPINGS: dict[str, str] = {}
ADDITIONAL_TEXT_MIMETYPES: list[str] = []
ENVIRONMENT_VARIABLES: dict[str, str] = {}
EXCEPTION_HANDLER = None
PROJECT_NAME = "ninja"
API_STAGE = "ninja"
DOMAIN = None
BASE_PATH = None
DJANGO_SETTINGS = "tests.benchmarks.peers.apps.ninja_settings"
COGNITO_TRIGGER_MAPPING: dict[str, str] = {}
AWS_EVENT_MAPPING: dict[str, str] = {}
ASYNC_RESPONSE_TABLE = ""
