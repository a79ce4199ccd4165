from django.urls import include, path

from config.api import views
from config.api.health import health

urlpatterns = [
    path("", views.index, name="index"),
    path("health", health, name="health"),
    path("health/live", views.live, name="live"),
    path("", include("users.urls")),
]

handler400 = views.bad_request
handler404 = views.not_found
handler500 = views.server_error
