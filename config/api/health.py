"""Whether this Region can serve: its database answers and holds every migration."""

from functools import cache

from django.db import DatabaseError, ProgrammingError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from config.api.answers import answer
from config.api.views import peer_origin, region, safe
from config.dsql.conflicts import sqlstates
from config.dsql.retry import run_statement

UNDEFINED_TABLE = "42P01"


@safe
def health(request: HttpRequest) -> HttpResponse:
    """200, or 503 naming what is wrong; one database round trip."""
    try:
        behind = unapplied()
    except DatabaseError:
        response = _answer(database="unreachable", schema="unknown")
    else:
        response = _answer(database="ok", schema="behind" if behind else "current")
    return _readable_by_peer(request, response)


def _readable_by_peer(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The other Region's page may read it, whoever else CORS lets in."""
    if origin := peer_origin():
        patch_vary_headers(response, ["Origin"])
        if request.headers.get("Origin") == origin:
            response["Access-Control-Allow-Origin"] = origin
    return response


def _answer(*, database: str, schema: str) -> HttpResponse:
    well = (database, schema) == ("ok", "current")
    content = {
        "status": "ok" if well else "unavailable",
        "region": region(),
        "database": database,
        "schema": schema,
    }
    if well:
        return answer(content)
    return answer(content, status=503, headers={"Retry-After": "1"})


@cache
def _known() -> frozenset[tuple[str, str]]:
    """The migrations of the code, which does not change while it runs."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)


def unapplied(using: str = "default") -> list[str]:
    """Names of the migrations the code has and the database has not."""
    rows = MigrationRecorder.Migration.objects.using(using).values_list("app", "name")
    try:
        applied = run_statement(lambda: set(rows.all()), using=using)
    except ProgrammingError as error:
        if UNDEFINED_TABLE not in sqlstates(error):
            raise
        applied = set()
    return sorted(f"{app}.{name}" for app, name in _known() - applied)
