"""The target of a command: the sandbox of this checkout, or AWS. It is named once.

``--target`` or ``TARGET`` names it. A command that only makes sense on AWS uses AWS;
every other command uses the sandbox of this checkout while that runs, and AWS only when
it is named. The environment is set before Django reads its settings, so that everything
after this module finds exactly one target.
"""

import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from ops import sandbox_status, target_file
from ops.paths import ENV_FILE
from ops.paths import SANDBOX as DIRECTORY
from ops.sandbox_status import (
    DIRECTORY_VARIABLE,
    TARGET_VARIABLE,
    StateError,
    Status,
)
from ops.target_file import LOCAL_SETTINGS
from ops.topology import PRIMARY

SANDBOX, AWS = TARGETS = ("sandbox", "aws")
OPTION, VARIABLE = "--target", TARGET_VARIABLE
# For a rehearsal: "aws" is what AWS_ENDPOINT_URL and PGHOSTADDR point at.
KEEP_ENDPOINTS = "TARGET_KEEPS_ENDPOINT_URLS"
# Commands that only make sense on AWS, that make or describe the sandbox itself, and that
# use neither. Every other command needs a target.
ONLY_AWS = frozenset({"deploy", "destroy", "stack"})
ONLY_SANDBOX = frozenset({"api_token", "run", "sandbox"})
NO_TARGET = frozenset(
    {
        "", "check", "compilemessages", "diffsettings", "help", "makemessages",
        "makemigrations", "openapi", "startapp", "startproject", "version",
    }
)  # fmt: skip
# Their rows appear among those of real users: on AWS they ask first, or take --yes.
WRITES_ROWS = frozenset(
    {
        "clearsessions",
        "delete_expired_responses",
        "dsql_verify",
        "flush",
        "loaddata",
        "seed_users",
    }
)
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DSQL")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# What distinguishes one sandbox from every other, including its own successor.
PLACE = ("AWS_ENDPOINT_URL_DSQL", "PGPORT", "PGSSLROOTCERT")
POINTERS = (
    "AWS_REGION", "DSQL_ENDPOINT", "DSQL_PEER_ENDPOINT", "PGHOSTADDR", *ENDPOINTS, *KEYS, *PLACE,
)  # fmt: skip
# No profile and no IAM role of the machine can lead out of the sandbox.
ISOLATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
Environ = MutableMapping[str, str]


class TargetError(Exception):
    """No target, or an unusable one; one line with the choice to make."""


def choose(
    arguments: Sequence[str],
    environ: Environ,
    *,
    file: Path = ENV_FILE,
    directory: Path = DIRECTORY,
) -> list[str]:
    """Set ``environ`` for the command's target; returns the arguments without ``--target``.

    ``arguments`` are those of ``manage.py``, its own name first. Raises TargetError.
    """
    rest, named = _without_option(arguments)
    command = next((word for word in rest[1:] if not word.startswith("-")), "")
    options = rest[: rest.index("--")] if "--" in rest else rest
    wants_help = not {"-h", "--help", "--version"}.isdisjoint(options)
    from_sandbox, values = _read(file)
    if not from_sandbox:
        _set_defaults(environ, values)
    named = named or environ.get(VARIABLE, "").strip()
    if named and named not in TARGETS:
        raise TargetError(
            f"The target is {named!r}; use {OPTION} or {VARIABLE} with one of "
            f"{', '.join(TARGETS)}."
        )
    names_account = command == "iam_policy" and any(
        word.startswith("--account") for word in rest
    )
    if command in NO_TARGET or wants_help or names_account:
        _set_defaults(environ, values)
    elif command in ONLY_AWS:
        # `sandbox env` also exports TARGET; that is no choice for this command.
        if named == SANDBOX and DIRECTORY_VARIABLE not in environ:
            raise TargetError(
                f"{command} works on AWS only: use {OPTION} {AWS}, or unset {VARIABLE}."
            )
        use_aws(environ, file=file, directory=directory)
    elif command in ONLY_SANDBOX:
        if named == AWS:
            raise TargetError(
                f"{command} works on this machine only: use {OPTION} {SANDBOX}, or unset "
                f"{VARIABLE}."
            )
        leave_sandbox(environ, file=file, directory=directory)
    elif named == AWS:
        use_aws(environ, file=file, directory=directory)
    else:
        _use_running_sandbox(command, named, environ, values, directory)
    return _confirmed(command, rest, environ)


def manage(command: str) -> str:
    """The line that runs the command on the target of this process."""
    option = f" {OPTION} {AWS}" if os.environ.get(VARIABLE) == AWS else ""
    return f"manage.py {command}{option}"


def advise_endpoint(environ: Mapping[str, str], *, directory: Path = DIRECTORY) -> str:
    """How a command whose target has no endpoint gets one."""
    if environ.get(VARIABLE) == AWS:
        command = f"manage.py dsql_status --format env {OPTION} {AWS}"
        return f"Set DSQL_ENDPOINT; `{command}` prints it."
    try:
        status = sandbox_status.status(
            Path(environ.get(DIRECTORY_VARIABLE) or directory)
        )
    except StateError as error:
        return str(error)
    if status.state != "running":
        return (
            "In this project DSQL_ENDPOINT names it. Without AWS, start the sandbox and "
            "make its clusters: `manage.py sandbox up`, then `manage.py dsql_provision`."
        )
    if not status.regions:
        return (
            "The sandbox has no cluster yet; make it with `manage.py dsql_provision`."
        )
    return "Set DSQL_ENDPOINT; `manage.py sandbox env` prints it."


def describe(environ: Mapping[str, str] = os.environ) -> str:
    """The target in words: the account id, or the directory of the sandbox.

    Raises aws.AwsError.
    """
    if environ.get(VARIABLE) == SANDBOX:
        return f"the sandbox in {environ.get(DIRECTORY_VARIABLE, DIRECTORY)}"
    from ops import aws  # imports boto3, which other commands do not need

    profile = environ.get("AWS_PROFILE")
    return f"AWS account {aws.account()}{f', profile {profile}' if profile else ''}"


def _confirmed(command: str, rest: list[str], environ: Environ) -> list[str]:
    """The arguments without ``--yes``, which only this module reads. Raises TargetError."""
    if command not in WRITES_ROWS:
        return rest
    without = [word for word in rest if word != "--yes"]
    if environ.get(VARIABLE) != AWS or "--yes" in rest:
        return without
    from ops import aws  # imports boto3, as above

    try:
        where = describe(environ)
    except aws.AwsError as error:
        raise TargetError(str(error)) from error
    sys.stderr.write(f"{command} writes rows in {where}. Go on? [y/N] ")
    sys.stderr.flush()
    typed = sys.stdin.readline() if sys.stdin else ""  # None when it was closed
    if typed.strip().lower() not in {"y", "yes"}:
        raise TargetError(f"{command} did nothing; --yes answers for you.")
    return without


def use_aws(
    environ: Environ, *, file: Path = ENV_FILE, directory: Path = DIRECTORY
) -> None:
    """Remove everything a sandbox has set, and ignore configured endpoints."""
    address = environ.get("PGHOSTADDR")
    leave_sandbox(environ, file=file, directory=directory)
    environ[VARIABLE] = AWS
    if environ.get(KEEP_ENDPOINTS):
        if address:  # on loopback, as that of this checkout's sandbox may be
            environ["PGHOSTADDR"] = address
    else:
        # Of a variable and of a profile alike (AWS SDKs and Tools Reference Guide,
        # "Service-specific endpoints").
        environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"


def leave_sandbox(
    environ: Environ, *, file: Path = ENV_FILE, directory: Path = DIRECTORY
) -> None:
    """Remove the variables of this checkout's sandbox, and of the one that they name."""
    marked = environ.pop(DIRECTORY_VARIABLE, "")
    sets = [values for from_sandbox, values in [_read(file)] if from_sandbox]
    sets += _read_settings_of(directory)
    if marked:
        known = _read_settings_of(Path(marked))
        sets += [*known, {**LOCAL_SETTINGS, **ISOLATION}]
        if not any(_same_place(environ, values) for values in known):
            # Deleted, moved or made again: nobody else can own what it set.
            for name in POINTERS:
                environ.pop(name, None)
    keys = {values.get("AWS_ACCESS_KEY_ID") for values in sets}
    if environ.get("AWS_ACCESS_KEY_ID") in keys:
        for name in KEYS:
            environ.pop(name, None)
    for values in sets:
        for name, value in values.items():
            # Django's settings may be the user's choice, unless all came together.
            if environ.get(name) == value and (marked or name not in LOCAL_SETTINGS):
                del environ[name]
    if environ.get(VARIABLE) == SANDBOX:
        del environ[VARIABLE]


def use_sandbox(environ: Environ, status: Status) -> None:
    """Set or remove every variable that could lead elsewhere."""
    is_current = environ.get(DIRECTORY_VARIABLE) == str(status.root)
    region = environ.get("AWS_REGION") if is_current else None
    role = next((r.role for r in status.regions if r.region == region), PRIMARY)
    pairs = [status.credentials, *status.runtime.values()]
    key = environ.get("AWS_ACCESS_KEY_ID")
    pair = next((p for p in pairs if p["AWS_ACCESS_KEY_ID"] == key), pairs[0])
    for name in [n for n in environ if n.startswith(("AWS_", "PG"))]:
        del environ[name]
    url = status.environ()["AWS_ENDPOINT_URL_DSQL"]
    environ.update(status.environ(role))
    environ.update(pair)
    environ.update(dict.fromkeys(ENDPOINTS, url))
    environ.update(ISOLATION)
    for name in ("NO_PROXY", "no_proxy"):  # not through a proxy of the shell
        hosts = [host for host in environ.get(name, "").split(",") if host]
        environ[name] = ",".join(dict.fromkeys([*hosts, sandbox_status.HOST]))


def _use_running_sandbox(
    command: str,
    named: str,
    environ: Environ,
    values: Mapping[str, str],
    directory: Path,
) -> None:
    exported = Path(environ.get(DIRECTORY_VARIABLE) or directory)
    try:
        status = sandbox_status.status(exported if exported.exists() else directory)
    except StateError as error:
        raise TargetError(str(error)) from error
    if not named and (conflicting := _names_another(environ, status)):
        raise TargetError(
            f"{conflicting} is set, but no target is named: use {OPTION} {AWS} (or "
            f"{VARIABLE}={AWS}), or {OPTION} {SANDBOX}."
        )
    if status.state == "running":
        use_sandbox(environ, status)
        _set_defaults(environ, values)
        _set_defaults(environ, LOCAL_SETTINGS)
        return
    if command == "runserver":
        leave_sandbox(environ, directory=directory)
        return  # it starts the sandbox and then itself again
    if named:
        raise TargetError(
            f"The sandbox in {status.root} is {status.state}: start it with `manage.py sandbox up`."
        )
    raise TargetError(
        f"No target is named and the sandbox of this checkout is {status.state}: start it with "
        f"`manage.py sandbox up` or `make run`, or name AWS with {OPTION} {AWS}."
    )


def _names_another(environ: Environ, status: Status) -> str:
    """The variable that names a database other than this sandbox's, if one does."""
    endpoint = environ.get("DSQL_ENDPOINT", "")
    known = {region.endpoint for region in status.regions}
    is_current = environ.get(DIRECTORY_VARIABLE) == str(status.root)
    return (
        "DSQL_ENDPOINT" if endpoint and endpoint not in known and not is_current else ""
    )


def _same_place(environ: Mapping[str, str], values: Mapping[str, str]) -> bool:
    return all(environ.get(name) == values.get(name) for name in PLACE)


def _read_settings_of(root: Path) -> list[dict[str, str]]:
    """The variables of the sandbox in that directory, for each Region and each key."""
    try:
        status = sandbox_status.status(root)
    except StateError:
        return []  # it cannot have been used
    if status.state == "absent":
        return []
    pairs = [status.credentials, *status.runtime.values()]
    roles = [region.role for region in status.regions] or [PRIMARY]
    return [
        {**LOCAL_SETTINGS, **status.environ(role), **pair}
        for role in roles
        for pair in pairs
    ]


def _without_option(arguments: Sequence[str]) -> tuple[list[str], str]:
    rest: list[str] = []
    named: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == OPTION:
            named.append(next(words, ""))
        elif word.startswith(f"{OPTION}="):
            named.append(word.partition("=")[2])
        else:
            rest.append(word)
    if "" in named:
        raise TargetError(f"{OPTION} needs one of {', '.join(TARGETS)}.")
    if len(set(named)) > 1:
        raise TargetError(f"{OPTION} names {' and '.join(named)}; name one target.")
    return rest, named[0] if named else ""


def _read(file: Path) -> tuple[bool, dict[str, str]]:
    """Whether a sandbox wrote the file, and its values. Raises TargetError."""
    if not file.exists():
        return False, {}
    try:
        return target_file.is_from_sandbox(file), target_file.read(file)
    except (OSError, ValueError) as error:  # not a file, not readable, not text
        raise TargetError(f"{file} cannot be read: {error}.") from error


def _set_defaults(environ: Environ, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        environ.setdefault(name, value)
