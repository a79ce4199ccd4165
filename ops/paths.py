"""Where the checkout keeps what the operators' commands make."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MANAGE = PROJECT / "manage.py"
SANDBOX = PROJECT / ".sandbox"
ENV_FILE = PROJECT / ".env"
PACKAGES = PROJECT / ".packages"
ISSUER_KEY = SANDBOX / "issuer.pem"
