"""Steps that fail on DSQL, each with its reason; all others pass."""

KEY_CHANGES = "A migration changes a primary key, which DSQL cannot alter."
TSVECTOR = "The index of wagtail.search needs tsvector: leave that application out."

KNOWN: dict[tuple[str, str], str] = {
    **{
        (name, step): KEY_CHANGES
        for name in ("django-q2", "django-rest-knox", "djangorestframework-api-key")
        for step in ("migrate", "use", "zero", "again")
    },
    **{("wagtail", step): TSVECTOR for step in ("migrate", "use")},
}
