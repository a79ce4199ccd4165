"""Django's own test suite on config.dsql beside plain PostgreSQL: ``make django-suite``."""
