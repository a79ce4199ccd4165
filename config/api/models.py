import uuid

from django.db import models
from django.utils import timezone


class StoredResponse(models.Model):
    """The response to a request that carried an Idempotency-Key."""

    # A digest of the caller and the key: the primary key refuses a second one.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    headers = models.TextField()
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # What the request created, whose deletion erases the response.
    resource = models.UUIDField(null=True, editable=False)

    class Meta:
        db_table = "api_storedanswer"
        indexes = [
            models.Index(fields=["created_at"], name="api_storedanswer_age"),
            models.Index(fields=["resource"], name="api_storedanswer_resource"),
        ]

    def __str__(self) -> str:
        return str(self.id)
