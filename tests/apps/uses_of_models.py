"""Uses of libraries that give models abilities, with the models of the sample app."""

from django.utils import timezone

from tests.apps.registry import sample, use


@use("django-taggit")
def taggit() -> None:
    tagged = sample("Tagged")
    one, two = tagged.objects.create(), tagged.objects.create()
    one.tags.add("red", "green")
    two.tags.add("green")
    assert set(tagged.objects.filter(tags__name__in=["red"])) == {one}
    assert list(
        two.similar_objects() if hasattr(two, "similar_objects") else [one]
    ) == [one]
    assert set(tagged.tags.most_common()[:1].values_list("name", flat=True)) == {
        "green"
    }
    one.tags.set(["blue"])
    assert list(one.tags.names()) == ["blue"]


@use("django-mptt")
def mptt() -> None:
    genre = sample("Genre")
    rock = genre.objects.create(name="Rock")
    for name in ("Hard", "Soft", "Blues"):
        genre.objects.create(name=name, parent=rock)
    child = genre.objects.create(name="Delta", parent=genre.objects.get(name="Blues"))
    assert [one.name for one in child.get_ancestors()] == ["Rock", "Blues"]
    genre.objects.get(name="Blues").move_to(genre.objects.get(name="Soft"))
    genre.objects.rebuild()
    assert genre.objects.get(name="Delta").level == 3
    genre.objects.get(name="Soft").delete()
    assert genre.objects.count() == 2


@use("django-treebeard")
def treebeard() -> None:
    for name in ("Path", "Nested", "Adjacent"):
        model = sample(name)
        root = model.add_root(name="root")
        child = root.add_child(name="child")
        model.objects.get(pk=root.pk).add_child(name="other")
        child = model.objects.get(pk=child.pk)
        child.add_child(name="leaf")
        assert model.objects.get(name="leaf").get_depth() == 3
        model.objects.get(name="leaf").move(model.objects.get(name="other"), "first-child"
            if name == "Path" else "sorted-child" if name == "Adjacent" else "first-child")  # fmt: skip
        assert model.objects.get(name="other").get_children_count() == 1
        model.objects.get(name="other").delete()
        assert model.objects.count() == 2


@use("django-simple-history")
def simple_history() -> None:
    poll = sample("Poll").objects.create(question="1?")
    poll.question = "2?"
    poll.save()
    assert [one.question for one in poll.history.all()] == ["2?", "1?"]
    assert poll.history.as_of(timezone.now()).question == "2?"
    poll.delete()
    assert sample("Poll").history.filter(history_type="-").count() == 1


@use("django-reversion")
def reversion() -> None:
    import reversion as library
    from reversion.models import Version

    with library.create_revision():
        note = sample("Note").objects.create(title="first")
    with library.create_revision():
        note.title = "second"
        note.save()
    versions = Version.objects.get_for_object(note)
    assert [one.field_dict["title"] for one in versions] == ["second", "first"]
    versions[1].revision.revert()
    assert sample("Note").objects.get().title == "first"


@use("django-import-export")
def import_export() -> None:
    import tablib
    from import_export import resources

    note = sample("Note")
    resource = resources.modelresource_factory(note)()
    rows = tablib.Dataset(
        ("", "one", 1), ("", "two", 2), headers=["id", "title", "number"]
    )
    preview = resource.import_data(rows, dry_run=True)
    assert not preview.has_errors()
    assert not note.objects.exists()
    assert not resource.import_data(rows, use_transactions=True).has_errors()
    assert note.objects.count() == 2
    assert len(resource.export()) == 2
    bad = tablib.Dataset(("", "three", "x"), headers=["id", "title", "number"])
    assert resource.import_data(bad, use_transactions=True).has_errors()
    assert note.objects.count() == 2


@use("django-polymorphic")
def polymorphic() -> None:
    project = sample("Project")
    sample("ArtProject").objects.create(topic="paint", artist="Ada")
    sample("ResearchProject").objects.create(topic="time", supervisor="Grace")
    assert {type(one).__name__ for one in project.objects.all()} == {
        "ArtProject",
        "ResearchProject",
    }
    assert project.objects.instance_of(sample("ArtProject")).count() == 1
    project.objects.all().delete()
    assert not sample("ArtProject").objects.exists()
