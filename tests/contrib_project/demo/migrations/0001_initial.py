from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Author",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50, db_index=True)),
                ("email", models.EmailField(max_length=100, unique=True)),
                ("born", models.DateField()),
                ("books", models.IntegerField(default=0)),
                ("nickname", models.CharField(max_length=20, null=True)),
            ],
        ),
        migrations.CreateModel(
            "Book",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("author", models.ForeignKey("demo.Author", models.CASCADE, related_name="volumes")),
                ("title", models.CharField(max_length=50)),
                ("pages", models.IntegerField()),
                ("published", models.DateTimeField(null=True, db_index=True)),
            ],
            options={
                "unique_together": {("author", "title")},
                "indexes": [models.Index(fields=["-published", "pages"], name="demo_volume_old")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(pages__gt=0), name="demo_volume_pages")
                ],
            },
        ),
        # The two tables refer to each other.
        migrations.AddField(
            "Author",
            "favourite",
            models.ForeignKey("demo.Book", models.SET_NULL, null=True, blank=True, related_name="admirers"),
        ),
        migrations.CreateModel(
            "Draft", [("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")), ("text", models.TextField())]
        ),
    ]
