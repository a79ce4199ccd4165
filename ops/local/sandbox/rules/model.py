"""The verdict on one statement."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a statement does to the transaction it runs in."""

    READ = "read"  # SELECT, VALUES, SHOW, EXPLAIN: changes nothing
    LOCK = "lock"  # SELECT … FOR UPDATE / FOR KEY SHARE: conflicts, changes nothing
    WRITE = "write"  # INSERT, UPDATE, DELETE (also inside a CTE)
    DDL = "ddl"  # anything that changes the catalog, GRANT and AWS IAM GRANT too
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SETTING = "setting"  # SET, RESET, DISCARD, DEALLOCATE, SET CONSTRAINTS


@dataclass(frozen=True, slots=True)
class Refusal:
    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: what it is, and what PostgreSQL runs instead of it."""

    sql: str  # as PostgreSQL shall run it, DSQL's own words taken out or replaced
    kind: Kind
    refusal: Refusal | None = None
    submits: str = (
        ""  # the expression that makes its job; the client gets a ``job_id`` row
    )
    waits_for_job: str | None = None  # the literal of CALL sys.wait_for_job('…')
    tag: str | None = None  # the command tag, where PostgreSQL's differs
    discard_rows: bool = (
        False  # the replacement returns rows that the client must not see
    )
    sets_constraints: bool = False  # SET CONSTRAINTS
    deallocates: str | None = None  # the name of DEALLOCATE; "" for all
    chains: bool = False  # COMMIT or ROLLBACK with AND CHAIN
    nested: bool = False  # it writes rows that its command tag does not count
    copies: bool = False  # COPY FROM STDIN: the client's rows follow
    estimates: bool = False  # EXPLAIN that ends with an estimate of its cost
    verify: str = ""  # a query run afterwards: it raises what the result is refused for
    calls: frozenset[str] = frozenset()  # functions, by the last part of their names
    grows: bool = False  # it may make larger values than it was sent
    unparsed: bool = False  # no SQL: PostgreSQL words the error, and nothing is run
    locks: str = ""  # "FOR UPDATE" or "FOR KEY SHARE", whichever is stronger
    guard: str = ""  # a query run first: a row is a SQLSTATE and the text of a refusal

    @property
    def plain(self) -> bool:
        """Whether PostgreSQL may get it unchanged and its response may be relayed."""
        return self.kind is Kind.READ and not (
            self.refusal
            or self.estimates
            or self.tag
            or self.discard_rows
            or self.waits_for_job
            or self.unparsed
        )
