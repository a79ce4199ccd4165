"""Statements of the session's tests, and the errors that they meet."""

INSERT = "INSERT INTO t VALUES (1)"
MANY = "INSERT INTO t SELECT 1"
TABLE = "CREATE TABLE a (id int)"
INDEX = "CREATE INDEX ASYNC i ON t (a)"
SELECT = ["T", "C SELECT 1"]
ABORTED = (
    "E 25P02 current transaction is aborted, commands ignored until end of "
    "transaction block"
)
TOO_MANY = "E 54000 transaction row limit exceeded"
DDL_AND_DML = "E 0A000 ddl and dml are not supported in the same transaction"
