"""Steps: run once, recorded when they have ended, replayed by the next run."""

from typing import Any, cast

import pytest

from config.dsql.ddl.probe import PROBE, Probe
from config.dsql.ddl.runner import JobFailed, step
from tests.config.dsql.ddl.fakes import FakeCatalog, FakeRunner


class FakeJournal:
    def __init__(self, *done: str) -> None:
        self.done, self.seen = set(done), list[str]()
        self.recorded: list[str] = []

    def is_done(self, name: str, **_: object) -> bool:
        self.seen.append(name)
        return name in self.done

    def record(self) -> None:
        self.recorded.append(self.seen[-1])

    def record_removal(self, table: str) -> None:
        self.recorded.append(f"removal of {table}")


class Editor:
    def __init__(self, *done: str) -> None:
        self.journal = cast("Any", FakeJournal(*done))
        self.runner = FakeRunner()
        self.runner.journal = self.journal

    @step
    def outer(self, name: str) -> str:
        self.inner(name)
        self.runner.execute("SECOND")
        return name

    @step
    def inner(self, name: str) -> None:
        self.runner.execute("FIRST")


def test_a_step_is_recorded_when_it_has_ended_with_the_steps_inside_it() -> None:
    editor = Editor()
    assert editor.outer("a") == "a"
    assert editor.runner.sent == ["FIRST", "SECOND"]
    assert editor.journal.recorded == ["outer a"]


def test_a_step_that_fails_is_not_recorded() -> None:
    editor = Editor()
    editor.runner.errors["SECOND"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        editor.outer("a")
    assert editor.journal.recorded == []
    assert not editor.runner.in_step


def test_a_completed_step_is_replayed_and_sends_nothing() -> None:
    editor = Editor("outer a")
    assert editor.outer("a") == "a"
    assert editor.runner.sent == []
    assert not editor.runner.is_collecting
    editor.outer("b")
    assert editor.runner.sent == ["FIRST", "SECOND"]


def test_without_a_journal_nothing_is_a_step() -> None:
    editor = Editor()
    editor.runner.journal = None
    editor.outer("a")
    assert editor.journal.seen == []


def test_a_removal_is_recorded_unless_the_step_is_replayed() -> None:
    editor = Editor("outer a")
    editor.runner.record_removal("item")
    with editor.runner.step("outer", ["a"]):
        editor.runner.record_removal("other")
    assert editor.journal.recorded == ["removal of item"]


def test_a_job_that_fails_is_an_error_with_its_details() -> None:
    runner = FakeRunner()
    runner.outcome = ("failed", "no room")
    with pytest.raises(JobFailed, match="Job failed: no room"):
        runner.execute("ALTER TABLE ASYNC item VALIDATE CONSTRAINT c")


def test_a_note_is_printed_only_where_statements_are() -> None:
    collected: list[str] = []
    for runner in (FakeRunner(), FakeRunner(collected)):
        runner.note("wait")
        runner.collect("SELECT 1;")
    assert collected == ["-- wait", "SELECT 1;"]


def test_the_probes_table_is_dropped_before_and_after_a_look_that_fails() -> None:
    runner = FakeRunner()
    with pytest.raises(ZeroDivisionError):
        Probe(runner, FakeCatalog()).read(
            lambda: 1 // 0, f"CREATE TABLE {PROBE} (a int)"
        )
    drop = f"DROP TABLE IF EXISTS {PROBE}"
    assert runner.sent == [drop, f"CREATE TABLE {PROBE} (a int)", drop]
