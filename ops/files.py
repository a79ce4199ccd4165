"""Writing files that hold secrets."""

import os
import secrets
from pathlib import Path


def write_private(path: Path, content: str | bytes) -> None:
    """Replace the file in one step; only its owner may read it."""
    # A name of its own: two starters may write the same file at once.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(partial, flags, 0o600), "wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
    partial.replace(path)
