import datetime

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("demo", "0002_more")]
    operations = [
        migrations.AlterField("Author", "name", models.CharField(max_length=255, db_index=True)),
        migrations.AlterField("Author", "email", models.EmailField(max_length=200, unique=True)),
        migrations.AlterField("Author", "born", models.DateField(null=True)),
        migrations.AlterField("Author", "books", models.BigIntegerField(default=0)),
        migrations.RenameField("Author", "books", "books_written"),
        migrations.RemoveField("Author", "nickname"),
        migrations.AlterField("Book", "title", models.CharField(max_length=200)),
        migrations.RenameField("Book", "title", "name"),
        migrations.AlterField("Book", "pages", models.BigIntegerField()),
        migrations.AlterField(
            "Book",
            "published",
            models.DateTimeField(
                db_index=True, default=datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
            ),
        ),
        migrations.AlterField("Book", "published", models.DateTimeField(db_index=True)),
        migrations.RemoveIndex("Book", "demo_volume_old"),
        migrations.AddIndex(
            "Book",
            models.Index(fields=["-published", "pages"], name="demo_volume_newest", include=["name"]),
        ),
        migrations.RenameModel("Book", "Volume"),
        migrations.DeleteModel("Draft"),
    ]
