from django.urls import include, path

from config.api import guard, pages, views
from config.api.health import health

urlpatterns = [
    path("", include("users.urls")),  # first: most requests are for it
    path("", pages.index, name="index"),
    path("health", health, name="health"),
    path("health/live", views.live, name="live"),
    path("openapi.json", pages.openapi, name="openapi"),
    path("problems", pages.problems, name="problems"),
]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = guard.server_error
