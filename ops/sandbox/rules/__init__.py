"""What DSQL accepts, judged on PostgreSQL's parse tree. Pure: text in, verdicts out."""

from functools import lru_cache

from google.protobuf.message import DecodeError
from postgast import PgQueryError, parse

from ops.sandbox.rules.model import Kind, Refusal, Statement
from ops.sandbox.rules.relations import relations, with_shadows
from ops.sandbox.rules.scan import AWS_IAM, literal_free, split, take_out_async
from ops.sandbox.rules.statements import verdict

__all__ = ["Kind", "Refusal", "Statement", "judge", "relations", "with_shadows"]

VALUES_ONLY = ("select", "insert", "update", "delete", "with")


def judge(sql: str) -> tuple[Statement, ...]:
    """The statements of one query string, in order.

    What PostgreSQL cannot parse comes back as one READ statement unchanged, so that
    PostgreSQL itself words the syntax error.
    """
    head = sql.lstrip()[:6].lower()
    if head.startswith(VALUES_ONLY) and (key := literal_free(sql)) is not None:
        model = _plain(key)
        if model is not None:
            return (Statement(sql, model.kind, locks=model.locks),)
    return _judge(sql)


@lru_cache(maxsize=4096)
def _plain(key: str) -> Statement | None:
    """The verdict on one accepted query that no literal can change."""
    found = _judge(key.replace("?", "'1'"))
    if len(found) != 1 or found[0].refusal or found[0].sql != key.replace("?", "'1'"):
        return None
    try:
        parse(found[0].sql)
    except (PgQueryError, DecodeError):
        return None
    return found[0]


@lru_cache(maxsize=4096)
def _judge(sql: str) -> tuple[Statement, ...]:
    return tuple(_one(part) for part in split(sql))


def _one(sql: str) -> Statement:
    if iam := AWS_IAM.match(sql):
        return _aws_iam(iam[1].lower(), iam[2], iam[4])
    plain, is_async = take_out_async(sql)
    try:
        tree = parse(plain)
    except PgQueryError:
        return Statement(plain, Kind.READ)
    except DecodeError:
        # Nested deeper than the tree's encoding goes: only the first word is known.
        word = plain.split(maxsplit=1)[0].lower()
        writes = word in ("insert", "update", "delete")
        return Statement(plain, Kind.WRITE if writes else Kind.READ)
    return verdict(plain, tree.stmts[0].stmt, is_async=is_async)


def _aws_iam(verb: str, role: str, arn: str) -> Statement:
    name = role[1:-1].replace('""', '"') if role.startswith('"') else role.lower()
    quoted = "'" + name.replace("'", "''") + "'"
    return Statement(
        f"SELECT sys.iam_{verb}({quoted}, {arn})",
        Kind.DDL,
        tag=f"AWS IAM {verb.upper()}",
        discard_rows=True,
    )
