import django.db.models.functions
from django.db import migrations, models


def add_rows(apps, schema_editor):
    author, _ = apps.get_model("demo", "Author").objects.get_or_create(
        email="first@example.com", defaults={"name": "First", "born": "1900-01-01"}
    )
    apps.get_model("demo", "Book").objects.get_or_create(author=author, title="One", defaults={"pages": 10})


class Migration(migrations.Migration):
    dependencies = [("demo", "0001_initial")]
    operations = [
        migrations.RunPython(add_rows, migrations.RunPython.noop),
        migrations.AddField("Author", "rating", models.PositiveSmallIntegerField(default=3)),
        migrations.AddField("Book", "isbn", models.CharField(max_length=13, null=True, blank=True, unique=True)),
        migrations.AddField("Book", "address", models.GenericIPAddressField(null=True, blank=True)),
        migrations.AddField("Book", "extra", models.JSONField(default=dict, blank=True)),
        migrations.AddField("Book", "shelf", models.CharField(max_length=20, default="none")),
        migrations.CreateModel(
            "Tag",
            [("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")), ("label", models.SlugField(unique=True))],
        ),
        migrations.AddField("Book", "tags", models.ManyToManyField("demo.Tag", blank=True)),
        migrations.AddIndex(
            "Author",
            models.Index(django.db.models.functions.Lower("name").desc(), name="demo_author_lower"),
        ),
        migrations.AddConstraint(
            "Book",
            models.UniqueConstraint(
                fields=["shelf"], condition=~models.Q(shelf="none"), name="demo_volume_shelf"
            ),
        ),
    ]
