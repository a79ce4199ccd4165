from django.urls import include, path

from config.api import guard, views

urlpatterns = [
    path("", include("users.urls")),  # first: most requests are for it
    path("", include("config.api.urls")),
]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = guard.server_error
