"""A small use of each library: what it writes is read again, through the database."""

from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction
from django.test import Client, RequestFactory

from tests.apps.registry import USES, sample, use


def ada(**values: Any) -> User:
    return get_user_model().objects.create_user(
        "ada", "ada@example.com", "secret-enough", **values
    )


@use("django-allauth")
def allauth() -> None:
    client = Client()
    form = {
        "username": "grace", "email": "grace@example.com",
        "password1": "un-guessable-7", "password2": "un-guessable-7",
    }  # fmt: skip
    assert client.post("/accounts/signup/", form).status_code == 302
    address = apps.get_model("account", "EmailAddress").objects.get()
    assert address.user.username == "grace"
    account = apps.get_model("socialaccount", "SocialAccount")
    account.objects.create(
        user=address.user, provider="x", uid="1", extra_data={"a": 1}
    )
    assert account.objects.filter(extra_data__a=1).count() == 1


@use("djangorestframework-simplejwt")
def simplejwt() -> None:
    from rest_framework_simplejwt.exceptions import TokenError
    from rest_framework_simplejwt.tokens import RefreshToken

    token = RefreshToken.for_user(ada())
    RefreshToken(str(token)).blacklist()
    try:
        RefreshToken(str(token))
    except TokenError:
        call_command("flushexpiredtokens")
    else:
        raise AssertionError("A token on the blacklist is accepted.")


@use("django-oauth-toolkit")
def oauth_toolkit() -> None:
    application = apps.get_model("oauth2_provider", "Application").objects.create(
        client_type="confidential", authorization_grant_type="client-credentials",
        client_secret="secret", user=ada(),
    )  # fmt: skip
    response = Client().post(
        "/o/token/",
        {
            "grant_type": "client_credentials", "client_secret": "secret",
            "client_id": application.client_id,
        },
    )  # fmt: skip
    assert response.status_code == 200, response.content
    token = apps.get_model("oauth2_provider", "AccessToken").objects.get()
    assert token.token == response.json()["access_token"]
    call_command("cleartokens")


@use("django-two-factor-auth")
def two_factor() -> None:
    from django_otp.oath import totp

    user = ada()
    device = user.totpdevice_set.create(name="default")
    assert device.verify_token(totp(device.bin_key))
    backup = user.staticdevice_set.create(name="backup")
    backup.token_set.create(token="abc")
    assert backup.verify_token("abc")
    assert not backup.verify_token("abc")
    assert Client().get("/account/login/").status_code == 200


@use("social-auth-app-django")
def social_auth() -> None:
    accounts = apps.get_model("social_django", "UserSocialAuth")
    accounts.create_social_auth(ada(), "7", "github")
    assert accounts.get_social_auth("github", "7").user.username == "ada"
    associations = apps.get_model("social_django", "Association")
    associations.objects.create(
        server_url="s",
        handle="h",
        secret="x",
        issued=1,
        lifetime=2**31 - 1,
        assoc_type="t",
    )
    assert associations.objects.get().lifetime == 2**31 - 1


@use("django-axes")
def axes() -> None:
    ada()
    client = Client(REMOTE_ADDR="10.0.0.1")
    for _ in range(5):
        client.post("/admin/login/", {"username": "ada", "password": "wrong"})
    attempt = apps.get_model("axes", "AccessAttempt").objects.get()
    assert attempt.failures_since_start >= 3
    call_command("axes_reset", verbosity=0)
    assert not apps.get_model("axes", "AccessAttempt").objects.exists()


@use("django-guardian")
def guardian() -> None:
    from guardian.shortcuts import assign_perm, get_objects_for_user, remove_perm

    user, group = ada(), Group.objects.create(name="editors")
    assign_perm("auth.change_group", user, group)
    assert User.objects.get(pk=user.pk).has_perm("auth.change_group", group)
    assert list(get_objects_for_user(user, "auth.change_group")) == [group]
    remove_perm("auth.change_group", user, group)
    assert not User.objects.get(pk=user.pk).has_perm("auth.change_group", group)


@use("django-celery-beat")
def celery_beat() -> None:
    from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

    crontab = CrontabSchedule.objects.create(minute="0", hour="4")
    task = PeriodicTask.objects.create(name="nightly", task="x", crontab=crontab)
    before = PeriodicTasks.last_change()
    task.args = "[1]"
    task.save()
    assert PeriodicTasks.last_change() > before
    assert list(PeriodicTask.objects.enabled()) == [task]


@use("django-celery-results")
def celery_results() -> None:
    results = apps.get_model("django_celery_results", "TaskResult").objects
    for status in ("STARTED", "SUCCESS"):
        results.store_result("application/json", "utf-8", "one", '"r"', status)
    assert results.get_task("one").status == "SUCCESS"
    results.delete_expired(timedelta(days=1))


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c"
    "6360606060000000050001a5f645400000000049454e44ae426082"
)


@use("django-filer")
def filer() -> None:
    from filer.models import File, Folder

    folder = Folder.objects.create(name="pictures", owner=ada())
    child = Folder.objects.create(name="old", parent=folder)
    File.objects.create(
        folder=child, original_filename="a.txt", file=ContentFile(b"text", "a.txt")
    )
    assert child.file_count == 1
    assert child.pretty_logical_path == "/pictures/old"
    folder.delete()
    assert not File.objects.exists()


@use("easy-thumbnails")
def easy_thumbnails() -> None:
    from django.core.files.storage import default_storage
    from easy_thumbnails.files import get_thumbnailer
    from easy_thumbnails.models import Source

    name = default_storage.save("pixel.png", ContentFile(PIXEL))
    assert get_thumbnailer(default_storage, name).get_thumbnail({"size": (1, 1)})
    assert Source.objects.get().thumbnails.count() == 1


@use("django-cities-light")
def cities_light() -> None:
    from cities_light.models import City, Country, Region

    country = Country.objects.create(name="Deutschland", code2="DE")
    region = Region.objects.create(name="Hessen", country=country)
    City.objects.create(name="Kassel", country=country, region=region)
    assert City.objects.get(search_names__contains="kassel").slug == "kassel"
    assert list(country.city_set.all()) == list(region.city_set.all())


@use("django-waffle")
def waffle() -> None:
    import waffle as library

    flag = library.get_waffle_flag_model().objects.create(name="beta", everyone=True)
    flag.users.add(ada())
    assert library.flag_is_active(RequestFactory().get("/"), "beta")
    call_command("waffle_switch", "on-air", "on", "--create", verbosity=0)
    assert library.switch_is_active("on-air")


@use("django-silk")
def silk() -> None:
    from silk.models import Request, Response, SQLQuery

    request = Request.objects.create(path="/x", method="GET")
    Response.objects.create(request=request, status_code=200)
    SQLQuery.objects.create(query="SELECT 1", request=request)
    Request.objects.filter(pk=request.pk).update(num_sql_queries=1)
    assert Request.objects.get().queries.count() == 1
    assert Client().get("/silk/").status_code == 200
    call_command("silk_clear_request_log")
    assert not Request.objects.exists()


@use("django-constance")
def constance() -> None:
    from constance import config

    config.ANSWER = 43
    assert config.ANSWER == 43
    call_command("constance", "set", "ANSWER", "44")
    assert config.ANSWER == 44


@use("django-auditlog")
def auditlog() -> None:
    from auditlog.models import LogEntry

    note = sample("Note").objects.create(title="a")
    note.title = "b"
    note.save()
    assert [one.action for one in LogEntry.objects.get_for_object(note)] == [1, 0]
    assert LogEntry.objects.filter(changes__title__0="a").exists()
    note.delete()
    assert LogEntry.objects.count() == 3


@use("fcm-django")
def fcm_django() -> None:
    devices = apps.get_model("fcm_django", "FCMDevice").objects
    devices.create(registration_id="r" * 200, type="ios", user=ada())
    assert devices.filter(active=True).get().user.username == "ada"


@use("django-post-office")
def post_office() -> None:
    from post_office import mail
    from post_office.models import Email, EmailTemplate

    EmailTemplate.objects.create(name="hello", subject="{{ name }}", content="x")
    mail.send(
        "ada@example.com", "me@example.com", template="hello", context={"name": "A"}
    )
    call_command("send_queued_mail", processes=1)
    assert Email.objects.get().status == 0
    call_command("cleanup_mail", days=0)


@use("django-health-check")
def health_check() -> None:
    import asyncio

    import health_check as library

    result = asyncio.run(library.checks.Database().get_result())
    assert result.error is None, result.error


@use("django-debug-toolbar")
def debug_toolbar() -> None:
    from debug_toolbar.panels.sql import tracking

    assert tracking
    assert Client().get("/admin/login/").status_code == 200


@use("django-model-utils")
def model_utils() -> None:
    article = sample("Article").objects.create()
    before = article.modified
    article.status = "public"
    assert article.tracker.changed() == {"status": "draft"}
    article.save()
    assert sample("Article").objects.get(status="public").modified > before
    sample("Restaurant").objects.create(name="Bistro", stars=2)
    assert sample("Place").objects.select_subclasses().get().stars == 2


@use("django-extensions")
def django_extensions() -> None:
    post = sample("Post")
    slugs = [post.objects.create(title="A title").slug for _ in range(2)]
    assert slugs == ["a-title", "a-title-2"]
    assert post.objects.active().count() == 2


@use("wagtail")
def wagtail() -> None:
    from wagtail.models import Page, Revision

    user = ada(is_staff=True, is_superuser=True)
    root = Page.objects.get(depth=1)
    page = root.add_child(instance=Page(title="Hello", slug="hello", owner=user))
    page.title = "Hello again"
    page.save_revision(user=user).publish()
    page = Page.objects.get(pk=page.pk)
    assert (page.title, page.live) == ("Hello again", True)
    assert Revision.objects.filter(object_id=str(page.pk)).count() == 1
    child = page.add_child(instance=Page(title="Child"))
    child.move(root, pos="last-child")
    client = Client()
    client.force_login(user)
    for path in (
        "",
        f"pages/{root.pk}/",
        f"pages/{page.pk}/edit/",
        "images/",
        "documents/",
    ):
        response = client.get(f"/cms/{path}", follow=True)
        assert response.status_code == 200, path
    page.copy(update_attrs={"slug": "copy"})
    Page.objects.get(slug="hello").delete()
    assert not Page.objects.filter(slug="hello").exists()


USES["wagtail without wagtail.search"] = USES["wagtail"]


@use("django-q2")
def q2() -> None:
    from django_q.models import Schedule, Success
    from django_q.tasks import async_task, result, schedule

    assert result(async_task("math.floor", 1.5)) == 1
    schedule("math.floor", 2.5, schedule_type=Schedule.DAILY)
    assert Success.objects.count() == Schedule.objects.count() == 1


@use("django-rest-knox")
def knox() -> None:
    from knox.auth import TokenAuthentication
    from knox.models import AuthToken

    user = ada()
    _, token = AuthToken.objects.create(user)
    assert TokenAuthentication().authenticate_credentials(token.encode())[0] == user
    user.auth_token_set.all().delete()
    assert not AuthToken.objects.exists()


@use("djangorestframework-api-key")
def api_key() -> None:
    from rest_framework_api_key.models import APIKey

    key, secret = APIKey.objects.create_key(name="partner")
    assert APIKey.objects.is_valid(secret)
    key.revoked = True
    key.save()
    assert not APIKey.objects.is_valid(secret)


def general() -> None:
    """What every project does, whichever library is installed."""
    with transaction.atomic():
        user = User.objects.create_user("general", password="secret-enough")
        user.groups.add(Group.objects.create(name="general"))
    assert authenticate(
        RequestFactory().get("/"), username="general", password="secret-enough"
    )
    assert ContentType.objects.get_for_model(User).app_label == "auth"
