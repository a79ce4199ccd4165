import uuid

from django.db import models
from django.utils import timezone


class Note(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=100)
    text = models.CharField(max_length=2000, db_column="content")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    # The checker of types knows the apps of the served project only.
    objects: models.Manager["Note"] = models.Manager()

    class Meta:
        indexes = [
            models.Index(fields=["created_at", "id"], name="notes_note_oldest"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["title"], name="notes_note_title_unique"),
        ]

    def __str__(self) -> str:
        return str(self.id)
