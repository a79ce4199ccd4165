"""Both Regions at once: the unique index decides, whatever the order."""

import json
import threading
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from ops.local.sandbox import lifecycle
from users.models import User

THREADS, EACH, PAIRS = 5, 20, 50  # threads of each Region, requests of each thread


def emails() -> tuple[list[str], list[str]]:
    """100 for each Region; the first 50 are the same but for their case."""
    single = THREADS * EACH - PAIRS
    first = [f"Pair{n}@Example.com" for n in range(PAIRS)]
    second = [f"pAIR{n}@eXAMPLE.COM" for n in range(PAIRS)]
    return (
        first + [f"one{n}@example.com" for n in range(single)],
        second + [f"two{n}@example.com" for n in range(single)],
    )


@pytest.mark.django_db(transaction=True, databases=["default", "secondary"])
def test_200_creates_over_both_regions_with_50_duplicates(
    sandbox: lifecycle.Status,
) -> None:
    answers: list[Any] = []
    together = threading.Barrier(2 * THREADS)

    def create(host: str, addresses: list[str]) -> None:
        # Settings are shared by all threads; this connection belongs to this one.
        connection.settings_dict = {**connection.settings_dict, "HOST": host}
        client = Client(raise_request_exception=False)
        try:
            connection.ensure_connection()
            assert connection.connection.info.host == host
            together.wait(60)
            for email in addresses:
                body = json.dumps({"name": host, "email": email})
                answers.append(
                    client.post("/users", body, content_type="application/json")
                )
        finally:
            connection.close()

    workers = [
        threading.Thread(target=create, args=(region.endpoint, mine[at::THREADS]))
        for region, mine in zip(sandbox.regions, emails(), strict=True)
        for at in range(THREADS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert Counter(answer.status_code for answer in answers) == {201: 150, 409: 50}
    refused = {a.json()["code"] for a in answers if a.status_code == 409}
    assert refused == {"email_taken"}
    made = {a.json()["id"]: a.json()["email"] for a in answers if a.status_code == 201}
    for alias in ("default", "secondary"):
        rows = {str(u.id): u.email for u in User.objects.using(alias).all()}
        assert rows == made
    wanted = {email.lower() for mine in emails() for email in mine}
    assert {email.lower() for email in made.values()} == wanted
    assert len(wanted) == len(made) == 150
