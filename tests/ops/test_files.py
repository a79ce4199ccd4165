from pathlib import Path

import pytest

from ops.files import write_private


@pytest.mark.parametrize("content", ["text", b"text"], ids=["text", "bytes"])
def test_only_its_owner_may_read_the_file_and_nothing_is_left_beside_it(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "key.pem"
    path.write_text("before, and longer")
    path.chmod(0o644)
    write_private(path, content)
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
