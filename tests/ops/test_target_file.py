from pathlib import Path

import pytest
from dotenv import dotenv_values

from ops import target_file


def test_the_endpoints_are_set_only_where_the_file_and_the_api_are_the_sandboxs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, url = tmp_path / ".env", "http://127.0.0.1:20001"
    monkeypatch.setenv("AWS_ENDPOINT_URL_DSQL", url)
    assert not target_file.update_if_current(path, {"DSQL_ENDPOINT": "new"})
    target_file.write(path, {"DSQL_ENDPOINT": "", "AWS_ENDPOINT_URL_DSQL": url})
    assert dotenv_values(path)["DSQL_ENDPOINT"] == ""
    assert target_file.update_if_current(
        path, {"DSQL_ENDPOINT": "new", "AWS_REGION": "eu-west-1"}
    )
    values = dotenv_values(path)
    assert (values["DSQL_ENDPOINT"], values["AWS_REGION"]) == ("new", "eu-west-1")
    assert not target_file.update_if_current(path, {"DSQL_ENDPOINT": "new"})
    monkeypatch.delenv("AWS_ENDPOINT_URL_DSQL")
    assert not target_file.update_if_current(path, {"DSQL_ENDPOINT": "of AWS"})
    path.write_text(f"AWS_ENDPOINT_URL_DSQL={url}\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DSQL", url)
    assert not target_file.update_if_current(path, {"DSQL_ENDPOINT": "mine"})
