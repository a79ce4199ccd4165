"""Constraints of tables that exist."""

from django.db import IntegrityError, ProgrammingError
from django.db.backends.ddl_references import Statement

from config.dsql.catalog import same_text
from config.dsql.ddl.indexes import Indexes
from config.dsql.ddl.statements import (
    DUPLICATE_OBJECT,
    UNDEFINED_OBJECT,
    JobFailed,
    step,
)
from config.dsql.ddl.tables import PROBE


class Constraints(Indexes):
    def _add_unique(self, statement):
        """UNIQUE for an existing table.

        1. Build a unique index of the constraint's name and wait until it is valid.
        2. Make it the constraint's.
        """
        parts, table = statement.parts, statement.parts["table"].table
        name = self._unquoted(parts["name"])
        index = Statement(
            self.sql_create_unique_index, **{**parts, "include": "", "condition": ""}
        )
        if not self.collect_sql and self.catalog.constraint(table, name) is not None:
            self._refuse_other_unique(statement, name, str(index))
            return
        self.build_index(str(index), name, table, index)
        self._execute(self.sql_use_index % parts)

    def _refuse_other_unique(self, statement, name, text):
        table = statement.parts["table"].table
        found, deferral = self.catalog.index(table, name), statement.parts["deferrable"]
        if found is None or found.deferral != str(deferral):
            definition = self.catalog.definition(table, name)
            raise ProgrammingError(
                f"A constraint {name} exists already, {definition}, and it is not: {statement}"
            )
        self._refuse_different_index(found, table, text)

    def _add_constraint(self, statement):
        """CHECK or FOREIGN KEY for an existing table.

        1. Add it NOT VALID: from here it holds for what is written.
        2. Validate it in a job, and wait.
        3. If rows break it, drop it and raise IntegrityError.
        """
        table, name = (
            statement.parts["table"].table,
            self._unquoted(str(statement.parts["name"])),
        )

        def same():
            self._refuse_other_constraint(statement, table, name)
            return True

        self._unless_done(str(statement), {DUPLICATE_OBJECT}, same)
        self.validate(table, name)

    def _refuse_other_constraint(self, statement, table, name):
        """Raise ProgrammingError unless the statement would add the one that exists."""
        found = self.catalog.definition(table, name)
        # Enough for NOT NULL, which is asked for again and again.
        if same_text(found, f"CHECK (({statement.parts.get('check')}))"):
            return
        wanted = self._as_made(
            lambda: self.catalog.definition(PROBE, name),
            self._without_rows(table),
            statement.template % {**statement.parts, "table": PROBE},
        )
        if found != wanted:
            raise ProgrammingError(
                f"A constraint {name} exists already, {found}, and it is not: {statement}"
            )

    def validate(self, table, name):
        """Validate a constraint, unless it is; drop it when the rows break it."""
        parts = {"table": self.quote_name(table), "name": self.quote_name(name)}
        if not self.collect_sql:
            found = self.catalog.constraint(table, name)
            if found is not None and found.valid:
                return
        try:
            self._execute(self.sql_validate % parts)
        except (IntegrityError, JobFailed) as error:
            found = self.catalog.constraint(table, name)
            if found is not None and not found.valid:
                self._execute(self.sql_delete_constraint % parts)
            raise IntegrityError(
                f"Constraint {name} does not hold and was dropped: {error}"
            ) from error
        self.note("wait for the job: CALL sys.wait_for_job('<job_id>')")

    def _validate(self, text):
        """VALIDATE CONSTRAINT of raw SQL: a constraint that does not hold stays."""
        try:
            self._execute(text)
        except JobFailed as error:
            raise IntegrityError(str(error)) from error

    def _drop_constraint(self, statement):
        table, name = (
            statement.parts["table"].table,
            self._unquoted(statement.parts["name"]),
        )
        self._unless_done(
            str(statement),
            {UNDEFINED_OBJECT},
            lambda: self.catalog.constraint(table, name) is None,
        )

    @step
    def alter_unique_together(self, model, old_unique_together, new_unique_together):
        olds = self._still_there(
            model,
            old_unique_together,
            new_unique_together,
            unique=True,
            primary_key=False,
        )
        super().alter_unique_together(model, olds, new_unique_together)

    @step
    def alter_index_together(self, model, old_index_together, new_index_together):
        olds = self._still_there(
            model, old_index_together, new_index_together, index=True, unique=False
        )
        super().alter_index_together(model, olds, new_index_together)

    def _still_there(self, model, olds, news, **kind):
        """``olds`` without those an interrupted run has removed."""
        if self.collect_sql:
            # A step that is done is played through and has nothing left to remove.
            return olds if self._journal is None else news
        news = {tuple(fields) for fields in news}
        # As Django looks for what it removes.
        named = {each.name for each in (*model._meta.constraints, *model._meta.indexes)}
        return [
            fields
            for fields in olds
            if tuple(fields) in news
            or self._constraint_names(
                model,
                [model._meta.get_field(field).column for field in fields],
                exclude=named,
                **kind,
            )
        ]
