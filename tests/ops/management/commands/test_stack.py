"""The boundary comes with the first stack and goes with the last."""

import json

import pytest

from tests.ops.account import ACCOUNT, PREFIX, Account, Refused, listed

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary"
OTHER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}


def policies(account: Account) -> set[str]:
    photograph = account.photograph()  # of each Region, where IAM has none
    return {name.split()[-1] for name in photograph if name.startswith("policy")}


def test_the_first_deployment_makes_it_and_no_later_one(account: Account) -> None:
    account.provision()
    planned = account.manage("stack plan --role primary")
    assert f"create the permissions boundary {BOUNDARY}" in planned
    assert policies(account) == set()
    made = account.manage("stack deploy --role primary")
    assert f"{BOUNDARY} is made" in made
    role = account.client("iam").get_role(RoleName=f"{PREFIX}-primary-runtime")["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY
    assert BOUNDARY not in account.manage("stack deploy --role secondary")


def test_it_stays_while_the_other_stage_has_its_stack(account: Account) -> None:
    account.provision()
    for role in ("primary", "secondary"):
        account.manage(f"stack deploy --role {role}")
    assert BOUNDARY not in account.manage("stack delete --role secondary --yes")
    assert policies(account) == {BOUNDARY}
    deleted = account.manage("stack delete --role primary --yes")
    assert f"IAM: policy {BOUNDARY}" in deleted
    assert f"{BOUNDARY} is deleted" in deleted
    assert policies(account) == set()


@pytest.mark.parametrize("command", ["plan", "deploy"])
def test_somebody_elses_policy_of_the_name_stops_it_before_anything_is_touched(
    account: Account, command: str
) -> None:
    account.provision()
    account.client("iam").create_policy(
        PolicyName=f"{PREFIX}-boundary",
        PolicyDocument=json.dumps(OTHER),
        Tags=listed({"Application": "bank"}),
    )
    before = account.photograph()
    with pytest.raises(Refused, match="is not ours: it is tagged Application=bank"):
        account.manage(f"stack {command} --role primary")
    assert account.photograph() == before


def test_destroy_lists_it_and_takes_it_away(account: Account) -> None:
    account.provision()
    for role in ("primary", "secondary"):
        account.manage(f"stack deploy --role {role}")
    said = account.manage("destroy --yes")
    assert f"IAM: policy {BOUNDARY}" in said
    assert policies(account) == set()
