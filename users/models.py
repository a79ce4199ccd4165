import uuid

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class User(models.Model):
    """A user of the API; e-mail addresses are unique without regard to case."""

    # Random keys spread writes over DSQL's storage; sequences would heat one range.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    email = models.EmailField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["created_at", "id"], name="users_user_newest"),
            models.Index(Lower("name"), "id", name="users_user_by_name"),
        ]
        constraints = [
            models.UniqueConstraint(Lower("email"), name="users_user_email_unique"),
        ]

    def __str__(self) -> str:
        return str(self.id)
