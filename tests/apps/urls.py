"""The admin, and the pages of the library that is installed."""

from importlib import import_module
from importlib.util import find_spec

from django.apps import apps
from django.contrib import admin
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", admin.site.urls)]
if apps.is_installed("allauth"):
    urlpatterns.append(path("accounts/", include("allauth.urls")))
if apps.is_installed("two_factor"):
    urls = import_module("two_factor.urls")
    urlpatterns.append(path("", include(urls.urlpatterns)))
if apps.is_installed("debug_toolbar"):
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
if apps.is_installed("silk"):
    urlpatterns.append(path("silk/", include("silk.urls", namespace="silk")))
if apps.is_installed("oauth2_provider"):
    urlpatterns.append(path("o/", include("oauth2_provider.urls")))
if apps.is_installed("wagtail") and find_spec("wagtail.urls"):
    urlpatterns += [
        path("cms/", include("wagtail.admin.urls")),
        path("", include("wagtail.urls")),
    ]
