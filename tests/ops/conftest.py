from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops import account as accounts
from tests.ops.account import Account


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Account]:
    """An empty AWS account; account.deploy() puts a deployment of ours into it."""
    with accounts.opened(monkeypatch, tmp_path) as made:
        yield made


@pytest.fixture
def deployed(account: Account) -> Account:
    account.deploy()
    return account
