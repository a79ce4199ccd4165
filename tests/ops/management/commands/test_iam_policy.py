"""What the command prints, and beside it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ops.policies import PURPOSES
from ops.policies.document import MAX_MANAGED, size

ACCOUNT = ("--account", "111122223333")


def run(*arguments: str) -> tuple[Any, str]:
    """The printed document, and what is said beside it."""
    out, beside = io.StringIO(), io.StringIO()
    call_command("iam_policy", *arguments, stdout=out, stderr=beside)
    return json.loads(out.getvalue()), beside.getvalue()


@pytest.mark.parametrize("purpose", PURPOSES)
def test_standard_output_is_the_document_alone(purpose: str) -> None:
    document, beside = run(purpose, *ACCOUNT)
    assert document["Version"] == "2012-10-17"
    assert beside


def test_what_still_amounts_to_an_administrator_is_said() -> None:
    _, beside = run("deploy", *ACCOUNT)
    assert "administrator of the application" in beside
    assert "admin" in run("provision", *ACCOUNT)[1]


def test_a_policy_that_is_too_long_is_printed_in_parts() -> None:
    whole, beside = run("deploy", *ACCOUNT)
    assert "--part 1 to 2" in beside
    parts = [run("deploy", "--part", str(n), *ACCOUNT)[0] for n in (1, 2)]
    assert [s for part in parts for s in part["Statement"]] == whole["Statement"]
    assert all(size(part) <= MAX_MANAGED for part in parts)
    for number in ("0", "3"):
        with pytest.raises(CommandError, match="deploy has 2 part"):
            run("deploy", "--part", number, *ACCOUNT)


def test_the_role_is_that_of_the_named_stage() -> None:
    for role, region in (("primary", "us-east-1"), ("secondary", "us-east-2")):
        document, _ = run("runtime", "--role", role, *ACCOUNT)
        assert f":{region}:111122223333:log-group:/aws/lambda/" in str(document)
        assert f"-{role}:*" in str(document)


def test_a_customers_key_adds_what_it_needs() -> None:
    assert "kms:" not in str(run("provision", *ACCOUNT)[0])
    document, _ = run("provision", "--kms-key", "secondary=alias/mine", *ACCOUNT)
    on = [
        statement["Resource"]
        for statement in document["Statement"]
        if "kms:DescribeKey" in statement["Action"]
    ]
    assert on == [["arn:aws:kms:us-east-2:111122223333:key/*"]]


def test_a_key_of_no_role_is_refused() -> None:
    with pytest.raises(CommandError, match="'third' is not one of"):
        run("provision", "--kms-key", "third=alias/mine", *ACCOUNT)


def test_a_vpc_in_the_named_settings_file_gives_its_rights(tmp_path: Path) -> None:
    settings = tmp_path / "zappa_settings.json"
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    settings.write_text(json.dumps({"primary": {"vpc_config": vpc}}))
    with_vpc, _ = run("runtime", "-s", str(settings), *ACCOUNT)
    assert "ec2:CreateNetworkInterface" in str(with_vpc)
    assert "ec2:" not in str(run("runtime", *ACCOUNT)[0])
