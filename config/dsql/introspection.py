"""Introspection by plain reads of the catalogs that DSQL has.

What its catalog shows otherwise than PostgreSQL's: indexes have the access method
``btree_index``, a primary key's index lists every other column as INCLUDE, NOT NULL may be
a CHECK, and a build that failed leaves an index that is not valid.

Django's own queries ask functions and casts that nobody has documented for DSQL
(pg_table_is_visible, obj_description, regclass, …), so each is asked anew here.
"""

from typing import Any

from django.db import ProgrammingError
from django.db.backends.postgresql import introspection
from django.db.backends.postgresql.introspection import FieldInfo, TableInfo
from django.db.models import Index

from .ddl.catalog import (
    COLUMN,
    CONSTRAINT,
    DEPENDENT,
    DESCENDING,
    NOT_NULL_SUFFIX,
    PG_CLASS,
    RELATION,
    Catalog,
)
from .ddl.catalog import Index as CatalogIndex
from .ddl.sql import cut_name

ACCESS_METHODS = ("btree_index", "btree")
TABLES = f"""
    SELECT c.relname, c.relkind, d.description {RELATION}
    LEFT JOIN pg_description d
      ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = {PG_CLASS}
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'v')"""
COLUMNS = f"""
    SELECT a.attname, a.attnotnull, t.typtype, t.typnotnull, o.collname, a.attidentity,
      d.description {COLUMN} JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_collation o ON o.oid = a.attcollation
    LEFT JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND """
SEQUENCES = f"""
    SELECT s.relname, a.attname {DEPENDENT} JOIN pg_class s ON s.oid = d.objid
    WHERE d.classid = {PG_CLASS} AND s.relkind = 'S' AND """
# One row for each column that a foreign key refers to, and one for other constraints.
CONSTRAINTS = f"""
    SELECT k.conname, k.contype, k.convalidated, k.conkey, k.confkey, c.oid, c.reloptions,
      f.relname, t.attname, t.attnum {CONSTRAINT}
    LEFT JOIN pg_class f ON f.oid = k.confrelid
    LEFT JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = ANY (k.confkey)
    WHERE """


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    def identifier_converter(self, name: str) -> str:
        """The name as the catalog has it, to compare with it."""
        return cut_name(name)

    def get_table_list(self, cursor: Any) -> Any:
        return [
            TableInfo(name, {"v": "v"}.get(kind, "t"), comment)
            for name, kind, comment in Catalog(self.connection).rows(TABLES)
            if name not in self.ignored_tables
        ]

    def get_table_description(self, cursor: Any, table_name: str) -> list[FieldInfo]:
        catalog = Catalog(self.connection)
        where, params = catalog.relation(table_name)
        defaults = catalog.defaults(table_name)
        checked = catalog.checked_not_null(table_name)
        fields = {}
        for name, marked, kind, by_domain, collation, identity, comment in catalog.rows(
            COLUMNS + where, params
        ):
            not_null = marked or (kind == "d" and by_domain) or name in checked
            collation = None if collation == "default" else collation
            default = defaults.get(name)
            fields[name] = not not_null, default, collation, identity != "", comment
        quoted = self.connection.ops.quote_name(table_name)
        cursor.execute(f"SELECT * FROM {quoted} LIMIT 1")
        if not fields:
            raise ProgrammingError(
                f"Table {table_name} is not in the current schema, but in another of "
                f'search_path. Name its schema too: \'"schema"."table"\'.'
            )
        return [
            FieldInfo(
                line.name,
                line.type_code,
                line.internal_size if line.display_size is None else line.display_size,
                line.internal_size,
                line.precision,
                line.scale,
                *fields[line.name],
            )
            for line in cursor.description
        ]

    def get_sequences(
        self, cursor: Any, table_name: str, table_fields: Any = ()
    ) -> list[Any]:
        catalog = Catalog(self.connection)
        where, params = catalog.relation(table_name)
        return [
            {"name": name, "table": table_name, "column": column}
            for name, column in catalog.rows(SEQUENCES + where, params)
        ]

    def get_relations(self, cursor: Any, table_name: str) -> dict[str, Any]:
        return {
            found["columns"][0]: found["foreign_key"][::-1]
            for found in self._constraints(table_name).values()
            if found["foreign_key"]
        }

    def get_constraints(self, cursor: Any, table_name: str) -> dict[str, Any]:
        """As PostgreSQL's, without CHECKs that stand for NOT NULL and invalid indexes."""
        constraints = {
            name: found
            for name, found in self._constraints(table_name).items()
            if not (found["check"] and name.endswith(NOT_NULL_SUFFIX))
        }
        for index in Catalog(self.connection).indexes(table_name):
            constraints.setdefault(index.name, self._index(index))
        return constraints

    def _constraints(self, table_name: str) -> dict[str, dict[str, Any]]:
        catalog = Catalog(self.connection)
        where, params = catalog.relation(table_name)
        rows = catalog.rows(CONSTRAINTS + where, params)
        names = catalog.column_names(rows[0][5]) if rows else {}
        constraints = {}
        for name, kind, _, key, referred, _, options, table, column, number in rows:
            if kind == "f" and number != referred[0]:
                continue
            constraints[name] = {
                "columns": [names[each] for each in key or ()],
                "primary_key": kind == "p",
                "unique": kind in ("p", "u"),
                "foreign_key": (table, column) if kind == "f" else None,
                "check": kind == "c",
                "index": False,
                "definition": None,
                "options": options,
            }
        return constraints

    @staticmethod
    def _index(index: CatalogIndex) -> dict[str, Any]:
        """A unique index has its keys for columns, any other the included ones too."""
        expressions = None in index.keys
        columns = list(index.keys)
        if expressions or not index.unique:
            columns += index.included
        orders = ["DESC" if o & DESCENDING else "ASC" for o in index.key_options]
        plain = index.method in ACCESS_METHODS and not index.name.endswith("_btree")
        return {
            "columns": columns if columns != [None] else [],
            "orders": orders if columns != [None] or not expressions else [],
            "primary_key": index.primary,
            "unique": index.unique,
            "foreign_key": None,
            "check": False,
            "index": True,
            "type": Index.suffix if plain and index.options is None else index.method,
            "definition": index.definition if expressions else None,
            "options": index.options,
        }
