from django.db import migrations


class Migration(migrations.Migration):
    """The model's name only: the table keeps its own."""

    dependencies = [
        ('api', '0002_resource'),
    ]

    operations = [
        migrations.AlterModelTable(name='storedanswer', table='api_storedanswer'),
        migrations.RenameModel(old_name='StoredAnswer', new_name='StoredResponse'),
    ]
