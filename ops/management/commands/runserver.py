"""Django's development server, which brings the sandbox up when no target is named."""

import os
import signal
import sys
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import runserver
from django.db import OperationalError, connection

from ops.local import envfile, processes
from ops.local.http_server import Server
from ops.local.processes import STOP_SECONDS, CommandFailed
from ops.local.sandbox.lifecycle import SandboxError
from ops.local.sandbox.postgres import PostgresError
from ops.sandbox_status import StateError
from ops.topology import Topology


class DatabaseAway(CommandError):
    """The target does not respond; no change of the code will bring it."""


class Command(runserver.Command):
    server_cls = Server

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--until-eof",
            action="store_true",
            help="stop when standard input ends, as it does when its writer dies",
        )

    def handle(self, *args: Any, until_eof: bool, **options: Any) -> None:
        # A shell has its background commands ignore SIGINT, and Python keeps to that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        has_target = bool(settings.DATABASES["default"]["HOST"])
        if until_eof:
            if not has_target:  # which Region to serve is the supervisor's to say
                raise CommandError("The sandbox does not run.")
            threading.Thread(target=_interrupt_at_eof, daemon=True).start()
        if not has_target:
            self._begin_again_with_a_sandbox()
        super().handle(*args, **options)

    def _begin_again_with_a_sandbox(self) -> None:
        if os.environ.get("TARGET") == "aws":
            raise CommandError(
                "The target is AWS, but DSQL_ENDPOINT is not set: `manage.py dsql_status "
                "--format env` prints it."
            )
        self.stdout.write("No DSQL_ENDPOINT is set: the sandbox is the target.")
        topology = Topology.from_environment()
        try:
            status = processes.begin(topology, self.stdout.write)
        except (CommandFailed, SandboxError, StateError, PostgresError) as error:
            raise CommandError(str(error)) from error
        environ = envfile.variables(status)
        # Settings were read without a target; the same command reads them anew.
        command = [sys.executable, *sys.argv]
        os.execve(sys.executable, command, {**os.environ, **environ})  # noqa: S606 - no shell

    def inner_run(self, *args: Any, **options: Any) -> None:
        try:
            super().inner_run(*args, **options)
        except DatabaseAway as error:
            if threading.current_thread() is threading.main_thread():
                raise
            # The reloader would wait for a change; sys.exit() does not work in its thread.
            self.stderr.write(f"CommandError: {error}")
            os._exit(1)

    def check_migrations(self) -> None:
        host = settings.DATABASES["default"]["HOST"]
        region = os.environ.get("AWS_REGION", "")
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise DatabaseAway(
                f"{host} cannot be reached: {str(error).strip()}\n"
                f"If it is the sandbox's, start it: manage.py sandbox up"
            ) from error
        self.stdout.write(f"Serving Region {region} with {host}")
        super().check_migrations()
        connection.close()  # this thread only waits from here on


def _interrupt_at_eof() -> None:
    os.read(sys.stdin.fileno(), 1)  # unbuffered: no lock is held at shutdown
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP_SECONDS)  # ends with the process, which must not outlive the writer
    os._exit(1)
