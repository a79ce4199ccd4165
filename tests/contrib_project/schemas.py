"""What a schema holds, as text that two databases can be compared by."""

from typing import Any

QUERIES = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
          a.attidentity, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
          AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, convalidated,
          pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = current_schema()::regnamespace""",
    "indexes": """
        SELECT i.indrelid::regclass::text, c.relname, i.indisvalid, i.indisunique,
          replace(pg_get_indexdef(c.oid), quote_ident(current_schema()), 'here')
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.relnamespace = current_schema()::regnamespace""",
}


def described(connection: Any) -> dict[str, list[str]]:
    with connection.cursor() as cursor:
        found = {}
        for what, query in QUERIES.items():
            cursor.execute(query)
            found[what] = sorted(str(row) for row in cursor.fetchall())
        cursor.execute("SELECT app, name FROM django_migrations ORDER BY app, name")
        found["migrations"] = [str(row) for row in cursor.fetchall()]
    return found
