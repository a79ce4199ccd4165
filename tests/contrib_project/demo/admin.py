from django.contrib import admin

from tests.contrib_project.demo.models import Author, Tag, Volume


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    list_display = ("name", "email", "rating")
    search_fields = ("name", "email")
    list_filter = ("rating",)


@admin.register(Volume)
class VolumeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    list_display = ("name", "author", "pages", "published")
    date_hierarchy = "published"
    search_fields = ("name",)
    filter_horizontal = ("tags",)


admin.site.register(Tag)
