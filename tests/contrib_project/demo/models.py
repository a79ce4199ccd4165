"""A library: one of each thing a migration can ask of a database."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower
from django_stubs_ext.db.models import TypedModelMeta


class Author(models.Model):
    name = models.CharField(max_length=255, db_index=True)
    email = models.EmailField(max_length=200, unique=True)
    born = models.DateField(null=True)
    books_written = models.BigIntegerField(default=0)
    rating = models.PositiveSmallIntegerField(default=3)
    favourite = models.ForeignKey(
        "Volume", models.SET_NULL, null=True, blank=True, related_name="admirers"
    )

    class Meta(TypedModelMeta):
        indexes: ClassVar = [
            models.Index(Lower("name").desc(), name="demo_author_lower")
        ]

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    label = models.SlugField(unique=True)

    def __str__(self) -> str:
        return self.label


class Volume(models.Model):
    author = models.ForeignKey(Author, models.CASCADE, related_name="volumes")
    name = models.CharField(max_length=200)
    isbn = models.CharField(max_length=13, null=True, blank=True, unique=True)
    pages = models.BigIntegerField()
    published = models.DateTimeField(db_index=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    extra = models.JSONField(default=dict, blank=True)
    shelf = models.CharField(max_length=20, default="none")
    tags = models.ManyToManyField(Tag, blank=True)

    class Meta(TypedModelMeta):
        unique_together: ClassVar = [("author", "name"), ("name", "pages")]
        indexes: ClassVar = [
            models.Index(
                fields=["-published", "pages"],
                name="demo_volume_latest",
                include=["name"],
            ),
            models.Index(fields=["author", "pages"], name="demo_volume_author"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(pages__gt=0), name="demo_volume_pages"
            ),
            models.UniqueConstraint(
                fields=["shelf"],
                condition=~models.Q(shelf="none"),
                name="demo_volume_shelf",
            ),
        ]

    def __str__(self) -> str:
        return self.name
