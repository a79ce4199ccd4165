"""What a person does in the admin: log in, list, search, add, change, delete, history.

``python -m tests.contrib_project.browsing`` with the environment of a sandbox.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import django
from django.core.management import call_command
from django.db import connection, models
from django.db.models.signals import post_save
from django.test import Client

from tests.contrib_project.cutting import fresh

PASSWORD = "secret-pass-1"


def browse() -> list[str]:
    from django.contrib.admin.models import CHANGE, LogEntry

    from tests.contrib_project.demo.models import Author

    client, seen = Client(), []

    def get(path: str, text: str) -> None:
        answer = client.get(f"/admin/{path}")
        assert answer.status_code == 200, (path, answer.status_code)
        assert text in answer.content.decode(), (path, text)
        seen.append(path)

    def post(path: str, **data: object) -> None:
        answer = client.post(f"/admin/{path}", data)
        assert answer.status_code == 302, (path, answer.content.decode()[-3000:])
        seen.append(path)

    post("login/?next=/admin/", username="boss", password=PASSWORD)
    author = {
        "name": "Ada", "email": "ada@example.com", "born": "1815-12-10",
        "books_written": 4_000_000_000, "rating": 5, "favourite": "",
    }  # fmt: skip
    post("demo/author/add/", **author)
    key = Author._default_manager.get(name="Ada").pk
    get("demo/author/", "Ada")
    get("demo/author/?q=ada&rating=5", "1 author")
    with conflict_once(Author, rating=4) as saved:
        post(f"demo/author/{key}/change/", **{**author, "name": "Ada L."})
    assert saved == ["Ada L.", "Ada L."]
    get(f"demo/author/{key}/history/", "Changed Name")
    assert LogEntry.objects.filter(object_id=key, action_flag=CHANGE).count() == 1
    post(f"demo/author/{key}/delete/", post="yes")
    assert not Author._default_manager.filter(pk=key).exists()
    return seen


@contextmanager
def conflict_once(model: type[models.Model], **changes: object) -> Iterator[list[str]]:
    """When a view saves a row, another transaction changes it; yields each save's name."""
    saved: list[str] = []

    def change() -> None:
        model._default_manager.update(**changes)
        connection.close()

    def note(instance: models.Model, **_: object) -> None:
        saved.append(str(instance))
        if len(saved) == 1:
            other = Thread(target=change)
            other.start()
            other.join()

    post_save.connect(note, sender=model)
    try:
        yield saved
    finally:
        post_save.disconnect(note, sender=model)


@contextmanager
def prepared() -> Iterator[None]:
    """The project migrated from zero, with its superuser; emptied afterwards."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    django.setup()
    fresh()
    for command, *options in (
        ("migrate",),
        ("createcachetable",),
        ("createsuperuser", "--noinput", "--username=boss", "--email=boss@example.com"),
    ):
        call_command(command, *options, verbosity=0)
    try:
        yield
    finally:
        call_command("flush", verbosity=0, interactive=False)
        connection.close()


def main() -> int:
    with prepared():
        print("\n".join(browse()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
