"""Alter columns of 50,000 rows while another process writes them.

``python -m tests.contrib_project.altering [rows]`` with the environment of a sandbox.
Prints the window of each change and compares every row with what the writer committed.
"""

import json
import logging
import multiprocessing
import os
import sys
import time
from typing import Any

import django
from django.db import Error, IntegrityError, connection, models
from django_stubs_ext.db.models import TypedModelMeta

from config.dsql.conflicts import sqlstates
from config.dsql.retry import repeat

TABLE = "altering_item"
UNDEFINED_COLUMN = "42703"
ROWS = 50_000
BATCH = 2_000


def execute(sql: str, params: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def model(**changed: Any) -> Any:
    class Meta(TypedModelMeta):
        app_label = "altering"
        db_table = TABLE

    fields = {
        "name": models.CharField(max_length=50, db_index=True),
        "size": models.PositiveIntegerField(unique=True),
        "note": models.CharField(max_length=20, null=True),
        **changed,
    }
    name = f"Item{len(changed)}{'_'.join(changed)}{time.monotonic_ns()}"
    return type(name, (models.Model,), {**fields, "Meta": Meta, "__module__": __name__})


class Writer:
    """Repeats what fails because its column is away, and counts it."""

    def __init__(self) -> None:
        self.refused, self.longest, self.accepted = 0, 0.0, 0

    def send(self, sql: str, params: list[Any]) -> Any:
        began = time.monotonic()
        while True:
            try:
                return repeat(lambda: execute(sql, params))
            except Error as error:
                if UNDEFINED_COLUMN not in sqlstates(error):
                    raise
                self.refused += 1
            finally:
                self.longest = max(self.longest, time.monotonic() - began)

    def send_wrong(self, turn: int) -> None:
        """What the constraints refuse: no name, or a size below zero."""
        name, size = ("wrong", -turn) if turn % 2 else (None, 20_000_000 + turn)
        sql = f"INSERT INTO {TABLE} (name, size) VALUES (%s, %s)"
        try:
            self.send(sql, [name, size])
        except IntegrityError:
            return
        self.accepted += 1


def write(stop: Any, report: Any, rows: int) -> None:
    """Insert and update until told to stop; report every row as it was committed last."""
    connection.close()
    writer = Writer()
    committed: dict[int, tuple[str, int, str]] = {}
    turn = 0
    while not stop.is_set():
        turn += 1
        row = (f"written {turn}", 10_000_000 + turn, f"note {turn}")
        if turn % 2:
            sql = f"INSERT INTO {TABLE} (name, size, note) VALUES (%s, %s, %s) RETURNING id"
            params: list[Any] = [*row]
        else:
            sql = f"UPDATE {TABLE} SET name = %s, size = %s, note = %s WHERE id = %s RETURNING id"
            params = [*row, 1 + turn * 7919 % rows]
        ((key,),) = writer.send(sql, params)
        committed[key] = row
        writer.send_wrong(turn)
    report.put((committed, turn, writer))


def fill(rows: int) -> None:
    for start in range(0, rows, BATCH):
        execute(
            # Keys follow: one session takes them from one block of the sequence.
            f"INSERT INTO {TABLE} (name, size, note) "
            "SELECT 'name ' || n, n, CASE WHEN n %% 2 = 0 THEN 'note ' || n END "
            "FROM generate_series(%s, %s) AS n",
            [start + 1, min(start + BATCH, rows)],
        )


def alter(name: str, before: Any, after: Any) -> float:
    began = time.monotonic()
    with connection.schema_editor() as editor:
        editor.alter_field(
            before, before._meta.get_field(name), after._meta.get_field(name)
        )
    return time.monotonic() - began


def wrong_rows(committed: dict[int, tuple[str, int, str]], rows: int) -> list[Any]:
    found = {
        key: row for key, *row in execute(f"SELECT id, name, size, note FROM {TABLE}")
    }
    wanted: dict[int, Any] = {
        n: (f"name {n}", n, f"note {n}" if n % 2 == 0 else "none")
        for n in range(1, rows + 1)
    }
    wanted.update(committed)
    return [
        (key, wanted.get(key), found.get(key))
        for key in wanted.keys() | found.keys()
        if key not in found or key not in wanted or tuple(found[key]) != wanted[key]
    ]


class Windows(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def main() -> int:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    django.setup()
    windows = Windows()
    logging.getLogger("config.dsql").addHandler(windows)
    execute(f"DROP TABLE IF EXISTS {TABLE}")
    first = model()
    with connection.schema_editor() as editor:
        editor.create_model(first)
    fill(rows)
    fork = multiprocessing.get_context("fork")
    stop, report = fork.Event(), fork.Queue()
    connection.close()
    writer = fork.Process(target=write, args=(stop, report, rows), daemon=True)
    writer.start()
    seconds = {}
    longer = {"name": models.CharField(max_length=255, db_index=True)}
    bigger = {**longer, "size": models.PositiveBigIntegerField(unique=True)}
    filled = {**bigger, "note": models.CharField(max_length=20, default="none")}
    steps = [model(), model(**longer), model(**bigger), model(**filled)]
    for name, before, after in zip(
        ("name", "size", "note"), steps, steps[1:], strict=False
    ):
        seconds[name] = round(alter(name, before, after), 2)
    stop.set()
    committed, turns, found = report.get(timeout=60)
    writer.join()
    wrong = wrong_rows(committed, rows)
    result = {
        "rows": rows,
        "seconds": seconds,
        "windows": windows.lines,
        "written meanwhile": turns,
        "refused in a window": found.refused,
        "longest write (s)": round(found.longest, 3),
        "wrong writes accepted": found.accepted,
        "wrong rows": wrong[:5],
    }
    print(json.dumps(result, indent=2))
    return 1 if wrong or found.accepted else 0


if __name__ == "__main__":
    sys.exit(main())
