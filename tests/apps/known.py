"""Steps that fail on DSQL, each with its reason; all others pass."""

KEY_CHANGES = "A migration changes a primary key, which DSQL cannot alter."
DDL_IN_RUNPYTHON = "A RunPython inside a transaction changes the schema."

KNOWN: dict[tuple[str, str], str] = {
    **{
        (name, step): KEY_CHANGES
        for name in ("django-q2", "django-rest-knox", "djangorestframework-api-key")
        for step in ("migrate", "use", "zero", "again")
    },
    **{
        (name, step): DDL_IN_RUNPYTHON
        for name in ("wagtail", "wagtail without wagtail.search")
        for step in ("migrate", "use")
    },
}
