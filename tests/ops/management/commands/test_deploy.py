"""What the operator confirms, and what is shown before."""

from collections.abc import Callable
from typing import Any

import pytest

from ops.deploy import preflight, sources
from ops.deploy.deployment import StepFailed
from ops.deploy.sources import PackageError, Sources
from tests.ops.account import EAST, NAME, PREFIX, Account, Refused

OIDC = {
    "API_AUTH": "oidc", "OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "api",
}  # fmt: skip
Answer = Callable[[str], list[str]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Has every question answered so; returns the list that they will be in."""

    def prepare(text: str) -> list[str]:
        asked: list[str] = []

        def reply(question: str) -> str:
            asked.append(question)
            if text == "EOF":
                raise EOFError
            return text

        monkeypatch.setattr("builtins.input", reply)
        return asked

    return prepare


@pytest.fixture
def stopped(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account in which the first step of a deployment ends with an error."""

    def stop(*_: Any) -> None:
        raise StepFailed("begun")

    monkeypatch.setattr(account, "run_step", stop)
    return account


@pytest.mark.parametrize(
    ("text", "begins"), [("none", True), ("y", False), ("EOF", False)]
)
def test_letting_everyone_in_is_confirmed_by_name(
    stopped: Account, answer: Answer, text: str, begins: bool
) -> None:
    asked = answer(text)
    with pytest.raises(Refused) as refused:
        stopped.manage("deploy")
    assert "everyone who reaches the APIs may read and change every" in str(
        refused.value
    )
    assert str(refused.value).endswith("begun" if begins else "Nothing was changed.")
    assert asked == ["Type none to go on and let everyone in: "]


@pytest.mark.parametrize(("text", "begins"), [("y", True), ("", False), ("EOF", False)])
def test_the_confirmation_says_whose_tokens_are_let_in(
    stopped: Account, answer: Answer, monkeypatch: pytest.MonkeyPatch, text: str,
    begins: bool,
) -> None:  # fmt: skip
    for name, value in OIDC.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_TOKEN", "t0ken")
    monkeypatch.setattr(preflight, "refusal", lambda *_: "")
    asked = answer(text)
    with pytest.raises(Refused) as refused:
        stopped.manage("deploy")
    assert "an access token of https://issuer.example for api" in str(refused.value)
    assert str(refused.value).endswith("begun" if begins else "Nothing was changed.")
    assert asked == ["Go on? [y/N] "]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--yes", "Confirm it with --access none"),
        ("--yes --access oidc", "--access is oidc, but API_AUTH is none"),
        ("--access oidc", "--access is oidc, but API_AUTH is none"),
        ("--yes --access none", "begun"),
    ],
)
def test_a_script_names_that_it_lets_everyone_in(
    stopped: Account, arguments: str, says: str
) -> None:
    with pytest.raises(Refused, match=says):
        stopped.manage(f"deploy {arguments}")


def test_what_there_is_is_shown_before_its_end_is_asked_for(
    deployed: Account, answer: Answer
) -> None:
    asked, before = answer("shop!"), deployed.photograph()
    with pytest.raises(Refused) as refused:
        deployed.manage("destroy")
    shown = str(refused.value)
    for line in (
        f"{EAST}: function {NAME}\n",
        f"{EAST}: stack {NAME} (CREATE_COMPLETE)\n",
        f"{EAST}: stack {NAME}-runtime (CREATE_COMPLETE)\n",
        f"{EAST}:   AWS::IAM::Role {NAME}-runtime\n",
        f"{EAST}:   AWS::S3::Bucket {PREFIX}-123456789012-{EAST}\n",
        f"us-east-2: function {PREFIX}-secondary\n",
    ):
        assert line in shown
    assert shown.count(": cluster ") == 2
    assert shown.endswith("All data will be lost.\nNothing was deleted.")
    assert asked == [f"Type {PREFIX} to go on: "]
    assert deployed.photograph() == before
    assert deployed.lines == []


def test_nothing_is_asked_where_there_is_nothing(
    account: Account, answer: Answer
) -> None:
    asked = answer("shop")
    assert "Nothing of shop exists: nothing to delete." in account.manage("destroy")
    assert asked == []


@pytest.mark.parametrize("text", ["yes", "EOF"])
def test_a_stacks_content_is_shown_before_its_end_is_asked_for(
    deployed: Account, answer: Answer, text: str
) -> None:
    asked, before = answer(text), deployed.photograph()
    with pytest.raises(Refused, match=rf"AWS::IAM::Role {NAME}-runtime\n"):
        deployed.manage("stack delete --role primary")
    assert asked == [f"This deletes all of the above. Type {NAME}-runtime to go on: "]
    assert deployed.photograph() == before


@pytest.mark.parametrize(
    "line",
    [
        "manage deploy --yes --access none",
        "zappa deploy primary",
        "zappa update primary",
    ],
)
def test_a_file_that_is_not_committed_is_refused_before_anything_is_touched(
    deployed: Account, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    def refuse(_: Any) -> Sources:
        raise PackageError("These files are not in commit abc: config/dump.sql.")

    monkeypatch.setattr(sources, "read", refuse)
    before = deployed.photograph()
    with pytest.raises(Refused, match=r"config/dump\.sql"):
        deployed.run(line)
    assert deployed.photograph() == before
    assert deployed.lines == []


def test_a_dirty_tree_is_said_before_the_question(
    stopped: Account, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty = Sources("a commit", {}, "The working tree is dirty: ops/aws.py.")
    monkeypatch.setattr(sources, "read", lambda _: dirty)
    answer("y")
    with pytest.raises(Refused, match=r"dirty: ops/aws\.py"):
        stopped.manage("deploy")
