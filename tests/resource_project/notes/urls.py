from django.urls import path

from tests.resource_project.notes import views

urlpatterns = [
    path("notes", views.Notes.as_view(), name="notes"),
    path("notes/<anyuuid:note_id>", views.NoteDetail.as_view(), name="note"),
]
