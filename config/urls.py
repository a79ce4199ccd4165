from django.urls import URLPattern, URLResolver

from config.api import guard, urls, views
from users.urls import urlpatterns as users

# One flat list: a resolver of included ones is asked for each request. Those that most
# requests are for come first.
urlpatterns: list[URLPattern | URLResolver] = [*users, *urls.urlpatterns]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = guard.server_error
