"""What the API serves beside its resources."""

from django.urls import path

from config.api import pages, views
from config.api.health import health

urlpatterns = [
    path("", pages.index, name="index"),
    path("health", health, name="health"),
    path("health/live", views.live, name="live"),
    path("openapi.json", pages.openapi, name="openapi"),
    path("problems", pages.problems, name="problems"),
]
