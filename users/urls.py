from django.urls import path, register_converter
from django.urls.converters import UUIDConverter

from users import views


class AnyCaseUUID(UUIDConverter):
    """Letters of either case are read (RFC 9562, section 4); small ones are written."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


register_converter(AnyCaseUUID, "anyuuid")

urlpatterns = [
    path("users", views.Users.as_view(), name="users"),
    path("users/import", views.UsersImport.as_view(), name="users-import"),
    path("users/export", views.UsersExport.as_view(), name="users-export"),
    path("users/<anyuuid:user_id>", views.UserDetail.as_view(), name="user"),
]
