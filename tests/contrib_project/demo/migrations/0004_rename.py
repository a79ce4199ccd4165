from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("demo", "0003_change")]
    operations = [
        migrations.AlterUniqueTogether(
            "Volume", {("author", "name"), ("name", "published"), ("author", "published")}
        ),
        migrations.AlterIndexTogether("Volume", {("author", "pages"), ("author", "shelf")}),
        migrations.RenameIndex("Volume", new_name="demo_volume_author", old_fields=("author", "pages")),
        migrations.AlterIndexTogether("Volume", set()),
        migrations.AlterUniqueTogether("Volume", {("author", "name"), ("name", "pages")}),
        migrations.RenameIndex("Volume", new_name="demo_volume_latest", old_name="demo_volume_newest"),
    ]
