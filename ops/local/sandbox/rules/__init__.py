"""What DSQL accepts, judged on PostgreSQL's parse tree. Pure: text in, verdicts out."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from google.protobuf.message import DecodeError
from postgast import PgQueryError, parse

from ops.local.sandbox.rules import assumptions
from ops.local.sandbox.rules.model import Kind, Refusal, Statement
from ops.local.sandbox.rules.relations import find_relations, redirect_to_shadows
from ops.local.sandbox.rules.scan import AWS_IAM, literal_free, split, strip_async
from ops.local.sandbox.rules.verdicts import verdict

__all__ = [
    "Kind", "Refusal", "Statement", "assume", "find_relations", "judge", "redirect_to_shadows",
]  # fmt: skip

VALUES_ONLY = ("select", "insert", "update", "delete", "with")


def judge(sql: str) -> tuple[Statement, ...]:
    """The statements of one query string, in order.

    What cannot be parsed comes back as one statement that says so.
    """
    head = sql.lstrip()[:6].lower()
    if head.startswith(VALUES_ONLY) and (key := literal_free(sql)) is not None:
        model = _plain(key)
        if model is not None:
            # One at a time, and only what a query has: this runs for each of them.
            return (
                model
                if model.sql == sql
                else Statement(
                    sql,
                    model.kind,
                    locks=model.locks,
                    nested=model.nested,
                    calls=model.calls,
                    grows=model.grows,
                ),
            )
    return _judge(sql)


@lru_cache(maxsize=4096)
def _plain(key: str) -> Statement | None:
    """The verdict on one accepted query that no literal can change."""
    text = key.replace("?", "'1'")
    found = _judge(text)
    if len(found) != 1 or found[0].refusal or found[0].unparsed:
        return None
    return found[0] if found[0].sql == text else None


@lru_cache(maxsize=4096)
def _judge(sql: str) -> tuple[Statement, ...]:
    parts = split(sql)
    if any(AWS_IAM.match(part) for part in parts):
        found = tuple(_one(part) for part in parts)
        wrong = next((one for one in found if one.unparsed), None)
        return found if wrong is None else (wrong,)
    return _parsed(sql, *strip_async(sql))


def _parsed(sql: str, plain: str, asyncs: Sequence[int]) -> tuple[Statement, ...]:
    """Judge a text as a whole: a syntax error anywhere is one of all of it."""
    try:
        trees = parse(plain).stmts
    except (PgQueryError, UnicodeEncodeError):
        return (Statement(plain, Kind.READ, unparsed=True),)
    except DecodeError:
        # Nested deeper than the tree's encoding goes: only the first word is known.
        return tuple(_guess(part) for part in split(plain))
    if len(trees) == 1:
        return (verdict(plain, trees[0].stmt, is_async=bool(asyncs)),)
    text = plain.encode()
    found = []
    for tree in trees:
        end = tree.stmt_location + tree.stmt_len if tree.stmt_len else len(text)
        part = text[tree.stmt_location : end].decode()
        is_async = any(tree.stmt_location <= at < end for at in asyncs)
        # Again, so that places in the tree are places in the part.
        found.append(verdict(part, parse(part).stmts[0].stmt, is_async=is_async))
    return tuple(found)


def _guess(sql: str) -> Statement:
    words = sql.split(maxsplit=1)
    writes = words[:1] and words[0].lower() in ("insert", "update", "delete")
    return Statement(sql, Kind.WRITE if writes else Kind.READ)


def _one(sql: str) -> Statement:
    if iam := AWS_IAM.match(sql):
        return _aws_iam(iam[1].lower(), iam[2], iam[4])
    (found,) = _parsed(sql, *strip_async(sql))
    return found


def assume(names: Iterable[str]) -> None:
    """Judge by these assumptions from now on. Raises UnknownAssumptionError."""
    assumptions.assume(names)
    _judge.cache_clear()
    _plain.cache_clear()


def _aws_iam(verb: str, role: str, arn: str) -> Statement:
    name = role[1:-1].replace('""', '"') if role.startswith('"') else role.lower()
    quoted = "'" + name.replace("'", "''") + "'"
    return Statement(
        f"SELECT sys.iam_{verb}({quoted}, {arn})",
        Kind.DDL,
        tag=f"AWS IAM {verb.upper()}",
        discard_rows=True,
    )
