from django.urls import path

from users import views

urlpatterns = [
    path("users", views.Users.as_view(), name="users"),
    path("users/import", views.UsersImport.as_view(), name="users-import"),
    path("users/export", views.UsersExport.as_view(), name="users-export"),
    path("users/<anyuuid:user_id>", views.UserDetail.as_view(), name="user"),
]
