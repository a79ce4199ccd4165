"""What the libraries that have no tables of their own are tried with."""

from typing import Any

from django.apps import apps
from django.db import models


class Note(models.Model):
    """An ordinary model; libraries that watch models watch this one."""

    title = models.CharField(max_length=100)
    number = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.title


if apps.is_installed("taggit"):
    from taggit.managers import TaggableManager

    class Tagged(models.Model):
        tags = TaggableManager()


if apps.is_installed("mptt"):
    from mptt.fields import TreeForeignKey
    from mptt.models import MPTTModel

    class Genre(MPTTModel):
        name = models.CharField(max_length=50, unique=True)
        parent: Any = TreeForeignKey(
            "self", models.CASCADE, null=True, blank=True, related_name="children"
        )


if apps.is_installed("treebeard"):
    from treebeard.al_tree import AL_Node
    from treebeard.mp_tree import MP_Node
    from treebeard.ns_tree import NS_Node

    class Path(MP_Node):
        name = models.CharField(max_length=50)

    class Nested(NS_Node):
        name = models.CharField(max_length=50)

    class Adjacent(AL_Node):
        name = models.CharField(max_length=50)
        parent = models.ForeignKey("self", models.CASCADE, null=True, db_index=True)
        node_order_by = ["name"]


if apps.is_installed("simple_history"):
    from simple_history.models import HistoricalRecords

    class Poll(models.Model):
        question = models.CharField(max_length=100)
        history = HistoricalRecords()


if apps.is_installed("polymorphic"):
    from polymorphic.models import PolymorphicModel

    class Project(PolymorphicModel):
        topic = models.CharField(max_length=30)

    class ArtProject(Project):
        artist = models.CharField(max_length=30)

    class ResearchProject(Project):
        supervisor = models.CharField(max_length=30)


if apps.is_installed("model_utils"):
    from model_utils import FieldTracker
    from model_utils.fields import MonitorField, StatusField
    from model_utils.managers import InheritanceManager
    from model_utils.models import TimeStampedModel, UUIDModel

    class Article(UUIDModel, TimeStampedModel):
        STATUS = [("draft", "draft"), ("public", "public")]
        status = StatusField(choices_name="STATUS")
        published = MonitorField(monitor="status", when=["public"])
        tracker = FieldTracker()

    class Place(models.Model):
        name = models.CharField(max_length=50)
        objects = InheritanceManager()

    class Restaurant(Place):
        stars = models.IntegerField()


if apps.is_installed("django_extensions"):
    from django_extensions.db.fields import AutoSlugField, RandomCharField
    from django_extensions.db.models import ActivatorModel
    from django_extensions.db.models import TimeStampedModel as Stamped

    class Post(Stamped, ActivatorModel):
        title = models.CharField(max_length=50)
        slug = AutoSlugField(populate_from="title")
        code = RandomCharField(length=8, unique=True)


if apps.is_installed("reversion"):
    import reversion

    reversion.register(Note)

if apps.is_installed("auditlog"):
    from auditlog.registry import auditlog

    auditlog.register(Note)
