"""What is not packaged, because no request and no maintenance uses it.

Lists that a test holds against: every route is served with an import of anything named
here refused.
"""

import fnmatch

# Never used by what serves: commands, other formats, metadata that names this machine.
NOT_SERVED = (
    "config/settings_ops.py", "config/*.md", "*/py.typed",
    "bin/*", "*/tests/*", "*.po", "*.mo", "*.pyi", "*.pyx", "*.pxd", "*.c", "*.h",
    "*/static/*", "*/__pycache__/*",
    # Of the metadata only METADATA is read.
    "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
)  # fmt: skip
# Parts of the dependencies, by file.
NOT_USED = (
    "django/contrib/*", "django/test/*", "django/*/locale/*.txt", "django/conf/locale/*/*",
    "django/conf/app_template/*", "django/conf/project_template/*",
    "django/core/management/commands/*", "django/core/management/templates.py",
    "django/core/servers/*", "django/core/cache/backends/db.py",
    "django/core/cache/backends/memcached.py", "django/core/cache/backends/redis.py",
    "django/core/mail/backends/*", "django/core/serializers/pyyaml.py",
    "django/core/serializers/xml_serializer.py",
    "django/db/backends/mysql/*", "django/db/backends/oracle/*",
    "django/db/backends/sqlite3/*",
    "django/forms/jinja2/*", "django/forms/templates/*", "django/views/templates/*",
    "rest_framework/schemas/*", "rest_framework/authtoken/*", "rest_framework/locale/*",
    "rest_framework/templates/*", "rest_framework/management/*",
    "corsheaders/migrations/*",
    # cryptography uses the extension module alone.
    "cffi/*", "pycparser/*",
)  # fmt: skip
# What is needed of them.
NEEDED = (
    "django/contrib/__init__.py", "django/contrib/auth/__init__.py",
    "django/contrib/auth/signals.py",
)  # fmt: skip


def is_left_out(name: str) -> bool:
    """Whether the file of that path inside the package's root is not packaged."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in NOT_SERVED):
        return True
    return name not in NEEDED and any(
        fnmatch.fnmatchcase(name, pattern) for pattern in NOT_USED
    )
