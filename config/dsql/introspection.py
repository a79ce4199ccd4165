"""What a DSQL catalog shows otherwise than PostgreSQL's.

Indexes have the access method ``btree_index``, a primary key's index lists every other
column as INCLUDE, NOT NULL may be a CHECK, and a build that failed leaves an index that
is not valid.
"""

from django.db.backends.postgresql import introspection
from django.db.models import Index

from config.dsql.catalog import NOT_NULL_SUFFIX

ACCESS_METHODS = ("btree_index", "btree")
NOT_NULL_CHECKS = f"""
    SELECT attname FROM pg_constraint JOIN pg_attribute
      ON attrelid = conrelid AND conkey = ARRAY[attnum]
    WHERE contype = 'c' AND convalidated AND conrelid = to_regclass(%s)
      AND pg_get_constraintdef(pg_constraint.oid) LIKE 'CHECK ((%% IS NOT NULL))'
      AND conname LIKE '%%\\{NOT_NULL_SUFFIX}'"""
# A unique index has its keys for columns, any other the included ones too, as in Django.
INDEXES = """
    SELECT x.relname, i.indisunique, i.indisprimary, am.amname, x.reloptions,
      CASE WHEN i.indexprs IS NOT NULL THEN pg_get_indexdef(i.indexrelid) END,
      ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, at)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE at <= CASE WHEN i.indisunique AND i.indexprs IS NULL THEN i.indnkeyatts
          ELSE i.indnatts END ORDER BY at),
      ARRAY(SELECT CASE option & 1 WHEN 1 THEN 'DESC' ELSE 'ASC' END
        FROM unnest(i.indoption::int2[]) WITH ORDINALITY AS o(option, at) ORDER BY at)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am am ON am.oid = x.relam
    WHERE i.indrelid = to_regclass(%s) AND i.indisvalid"""


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    def get_table_description(self, cursor, table_name):
        fields = super().get_table_description(cursor, table_name)
        cursor.execute(NOT_NULL_CHECKS, [self.connection.ops.quote_name(table_name)])
        checked = {name for (name,) in cursor.fetchall()}
        return [
            field._replace(null_ok=False) if field.name in checked else field
            for field in fields
        ]

    def get_constraints(self, cursor, table_name):
        """As PostgreSQL's, without CHECKs that stand for NOT NULL and invalid indexes."""
        constraints = {
            name: found
            for name, found in super().get_constraints(cursor, table_name).items()
            if not found["index"]
            and not (found["check"] and name.endswith(NOT_NULL_SUFFIX))
        }
        cursor.execute(INDEXES, [self.connection.ops.quote_name(table_name)])
        for (
            name,
            unique,
            primary,
            method,
            options,
            text,
            keys,
            orders,
        ) in cursor.fetchall():
            basic = method in ACCESS_METHODS and not name.endswith("_btree")
            constraints.setdefault(
                name,
                {
                    "columns": keys if keys != [None] else [],
                    "orders": orders if keys != [None] or text is None else [],
                    "primary_key": primary,
                    "unique": unique,
                    "foreign_key": None,
                    "check": False,
                    "index": True,
                    "type": Index.suffix if basic and options is None else method,
                    "definition": text,
                    "options": options,
                },
            )
        return constraints
