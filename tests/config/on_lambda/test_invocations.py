"""Whoever may invoke the function runs nothing but maintenance."""

import builtins
import importlib
import logging
import os
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import management
from django.db import OperationalError
from django.utils import timezone

from config.api import idempotency
from config.api.models import StoredResponse
from config.dsql import deadlines
from config.on_lambda import invocations
from config.on_lambda.handler import lambda_handler
from config.on_lambda.invocations import InvocationRefused, MaintenanceFailed
from tests.config.on_lambda.test_events import API, event

MAINTENANCE = {"maintenance": "delete_expired_responses"}
CODE = "import os; os.environ['RAN'] = '1'"
CONTEXT = SimpleNamespace(
    aws_request_id="a-request", get_remaining_time_in_millis=lambda: 30_000
)
REFUSED: dict[str, Any] = {
    "raw command": {"raw_command": CODE},
    "command": {"command": "os.getcwd"},
    "manage": {"manage": "flush --no-input"},
    "manage as a list": {"manage": ["flush"]},
    "S3": {"Records": [{"s3": {"configurationId": "a:os.getcwd"}}]},
    "SNS": {"Records": [{"Sns": {"Message": '{"command": "os.getcwd"}'}}]},
    "SQS": {"Records": [{"eventSource": "aws:sqs", "eventSourceARN": "arn", "body": ""}]},
    "schedule": {"detail-type": "Scheduled Event", "source": "aws.events",
                 "resources": ["arn:aws:events:::rule/a-os.getcwd"]},
    "keep warm": {"detail-type": "Scheduled Event",
                  "resources": ["rule/handler.keep_warm_callback"]},
    "Cognito": {"triggerSource": "PreSignUp_SignUp", "request": {}, "response": {}},
    "Lex": {"currentIntent": {"name": "a"}, "invocationSource": "DialogCodeHook"},
    "certificate": {"certbot": "x"},
    "another task": {"maintenance": "flush"},
    "two": {**MAINTENANCE, "command": "os.getcwd"},
    "a list of tasks": {"maintenance": ["delete_expired_responses"]},
    "nothing": {}, "none": None, "text": "delete_expired_responses", "list": [MAINTENANCE],
}  # fmt: skip


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
def test_no_event_runs_anything_but_maintenance(
    sent: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    for owner, name in (
        (builtins, "exec"), (builtins, "eval"), (importlib, "import_module"),
        (management, "call_command"), (os, "getcwd"), (subprocess, "Popen"),
        (idempotency, "delete_expired"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, lambda *_, _name=name, **__: ran.append(_name))
    with pytest.raises(InvocationRefused) as caught:
        lambda_handler(sent, CONTEXT)
    assert ran == []
    assert "RAN" not in os.environ
    (line,) = [r for r in caplog.records if r.name == invocations.__name__]
    assert line.levelno == logging.ERROR
    assert line.getMessage() == str(caught.value)
    assert '{"maintenance": "delete_expired_responses"}' in line.getMessage()
    assert "os.getcwd" not in line.getMessage()


@pytest.mark.parametrize(
    ("wanted", "command"),
    [
        ("seed_users --count 3", "manage.py seed_users --target aws"),
        ("migrate", "manage.py dsql_database --target aws"),
        ("$(rm -rf /)", "manage.py COMMAND --target aws"),
        ("secretword now", "manage.py COMMAND --target aws"),
        (["a"], "manage.py COMMAND --target aws"),
    ],
)
def test_the_refusal_names_the_command_to_use_instead(
    wanted: Any, command: str
) -> None:
    with pytest.raises(InvocationRefused) as caught:
        lambda_handler({"manage": wanted}, CONTEXT)
    assert command in str(caught.value)
    assert "rm -rf" not in str(caught.value)
    assert "secretword" not in str(caught.value)


@pytest.mark.parametrize("known", sorted(invocations.COMMANDS))
def test_a_refusal_names_only_commands_of_this_project(known: str) -> None:
    assert known in management.get_commands()


def test_stage_variables_are_no_environment_variables() -> None:
    sent = event(API, "/prod/health/live", "/health/live", "health/live")
    sent["stageVariables"] = {"DSQL_ENDPOINT": "evil.example.com", "RAN": "1"}
    before = dict(os.environ)
    assert lambda_handler(sent, CONTEXT)["statusCode"] == 200
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "more", [{"command": "os.getcwd"}, {"manage": "flush"}, {"raw_command": CODE}]
)
def test_a_request_that_carries_a_command_is_a_request(more: dict[str, str]) -> None:
    sent = event(API, "/prod/health/live", "/health/live", "health/live") | more
    assert lambda_handler(sent, CONTEXT)["statusCode"] == 200
    assert "RAN" not in os.environ


def expired(count: int) -> None:
    old = timezone.now() - 2 * idempotency.RETENTION
    StoredResponse.objects.bulk_create(
        StoredResponse(
            fingerprint="", status=201, headers="{}", body="", created_at=old
        )
        for _ in range(count)
    )


@pytest.mark.django_db(transaction=True)
def test_expired_responses_are_deleted_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    expired(3)
    young = StoredResponse.objects.create(
        fingerprint="", status=201, headers="{}", body="",
        created_at=timezone.now() - idempotency.RETENTION + timedelta(hours=1),
    )  # fmt: skip
    with caplog.at_level(logging.INFO, invocations.__name__):
        assert lambda_handler(MAINTENANCE, CONTEXT) == {**MAINTENANCE, "deleted": 3}
    assert "delete_expired_responses: 3 deleted" in caplog.text
    assert list(StoredResponse.objects.values_list("pk", flat=True)) == [young.pk]


@pytest.mark.django_db(transaction=True)
def test_maintenance_ends_between_two_batches_before_the_functions_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expired(3)
    monkeypatch.setattr(idempotency, "DELETED_ROWS", 1)
    now = [1000.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])
    delete = idempotency._delete

    def slow(rows: Any) -> int:
        done = delete(rows)
        now[0] += 20.0
        return done

    monkeypatch.setattr(idempotency, "_delete", slow)
    assert lambda_handler(MAINTENANCE, CONTEXT)["deleted"] == 2
    assert lambda_handler(MAINTENANCE, CONTEXT)["deleted"] == 1


def test_maintenance_that_fails_is_an_error_without_anybodys_data(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> int:
        raise OperationalError("gone\nDETAIL: Key (email)=(ada@example.com)")

    monkeypatch.setattr(invocations, "TASKS", {"delete_expired_responses": fail})
    monkeypatch.setattr(invocations, "close_old_connections", lambda: None)
    with pytest.raises(MaintenanceFailed) as caught:
        lambda_handler(MAINTENANCE, CONTEXT)
    assert (
        str(caught.value) == "delete_expired_responses failed: OperationalError: gone"
    )
    assert caught.value.__cause__ is None
    assert "delete_expired_responses failed" in caplog.text


def test_serving_imports_neither_zappa_nor_werkzeug_nor_boto3() -> None:
    program = (
        "import sys, config.on_lambda.start; "
        "print([m for m in ('zappa', 'werkzeug', 'boto3', 'botocore') if m in sys.modules])"
    )
    environ = {
        "PATH": os.environ["PATH"], "DJANGO_SECRET_KEY": "k", "API_AUTH": "none",
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
