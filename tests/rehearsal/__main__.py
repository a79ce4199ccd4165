"""``make rehearse``: the whole life of a deployment, offline, from nothing to nothing.

The lines are those of the README, typed into a shell; what they made is then used as its
users would use it, and measured.
"""

import json
import os
import re
import statistics
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

from ops.local.sandbox import lifecycle
from ops.paths import PROJECT, SANDBOX
from ops.topology import Topology
from tests.rehearsal import (
    api_checks,
    calls,
    damage,
    measurements,
    runtimes,
    state,
    troubleshooting,
)
from tests.rehearsal.gateway import ACCOUNT
from tests.rehearsal.shell import MANAGE, ZAPPA, Failed, Rehearsal
from tests.rehearsal.world import World, plain_shell

WARM_CALLS = 200


def main() -> int:
    started = time.monotonic()
    topology = Topology.from_environment()
    print(
        "Starting the sandbox, moto and the Internet of the rehearsal ...", flush=True
    )
    print(runtimes.describe_runtime(), flush=True)
    world = World(topology)
    on = Rehearsal(world)
    tour = Tour(on)
    try:
        tour.take()
        package(on)
        deploy(on)
        serve(on)
        troubleshoot(on)
        measure(on)
        change(on)
        close_to_strangers(on)
        destroy(on)
        tour.come_back()
    except Failed as failed:
        print(f"rehearse: {failed}", file=sys.stderr)
        return 1
    finally:
        tour.end()
        world.close()
    on.rows.append(("rehearsed in", f"{time.monotonic() - started:.0f} s"))
    width = max(len(name) for name, _ in on.rows)
    print()
    for name, value in on.rows:
        print(f"{name:<{width}}  {value}")
    return 0


class Tour:
    """The README's first chapters, which leave a sandbox running and a .env behind.

    The deployment must go to AWS all the same, and the laptop's data must be there after it.
    """

    def __init__(self, on: Rehearsal) -> None:
        self.on = on
        self.found = lifecycle.status(SANDBOX).state

    def take(self) -> None:
        self._type(f"{MANAGE} sandbox up")
        self._type(f"{MANAGE} dsql_provision")
        self._type(f"{MANAGE} dsql_database")
        self._type(f"{MANAGE} seed_users")
        self._verify()

    def come_back(self) -> None:
        seeded = self._type(f"{MANAGE} seed_users")
        self.on.check("the laptop's users are there", "0 created" in seeded)
        self._verify()

    def end(self) -> None:
        """What was not there or did not run before is as it was."""
        if self.found == "absent":
            self._type(f"{MANAGE} sandbox reset --yes")
        elif self.found != "running":
            self._type(f"{MANAGE} sandbox down")

    def _verify(self) -> None:
        said = self._type(f"{MANAGE} dsql_verify --rounds 2")
        self.on.check(
            "the laptop's target is its sandbox", f"sandbox in {SANDBOX}" in said
        )

    def _type(self, line: str) -> str:
        """In the same shell before anything of AWS was set in it."""
        inside, self.on.world.environ = self.on.world.environ, plain_shell()
        try:
            return self.on.type(line)
        finally:
            self.on.world.environ = inside


def package(on: Rehearsal) -> None:
    """Without credentials, and with the real Internet: the wheels come from the index."""
    archive = on.world.root / "package.zip"
    outside = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    outside["LAMBDA_RUNTIME"] = runtimes.choose_runtime()
    inside, on.world.environ = on.world.environ, outside
    try:
        said = on.type(f"{ZAPPA} package primary --output {archive}")
    finally:
        on.world.environ = inside
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        unzipped = sum(info.file_size for info in packed.infolist())
    on.check(
        "the package is at most 14.5 MiB",
        lambda: archive.stat().st_size <= 14.5 * 2**20,
    )
    on.check(
        "nothing that serves elsewhere is inside",
        lambda: (
            not any(
                name.startswith(("boto3/", "botocore/", "werkzeug/", "zappa/"))
                for name in names
            )
        ),
    )
    on.check(
        "nothing of ops/ or tests/ is inside",
        lambda: not any(name.startswith(("ops/", "tests/")) for name in names),
    )
    digest = re.search(r"sha256 (\w+)", said)
    on.rows += [
        ("zip, MiB", f"{archive.stat().st_size / 2**20:.1f}"),
        ("unzipped, MB", f"{unzipped / 1e6:.1f} in {len(names)} files"),
        ("digest", digest[1] if digest else "?"),
    ]


def deploy(on: Rehearsal) -> None:
    primary, secondary = on.world.topology.regions
    refused = on.type(f"{ZAPPA} deploy {primary}", expect=1)
    on.check("deploying without clusters names the next command",
             "dsql_provision" in refused)  # fmt: skip
    on.type(f"{MANAGE} dsql_provision")
    refused = on.type(f"{ZAPPA} deploy {primary}", expect=1)
    on.check("deploying without migrations names the next command",
             "dsql_database" in refused)  # fmt: skip
    for role in (primary, secondary):
        planned = on.type(f"{MANAGE} stack plan --role {role}")
        on.check("the plan says what would be made", "create FunctionRole" in planned)
        on.type(f"{MANAGE} stack deploy --role {role}")
        again = on.type(f"{MANAGE} stack deploy --role {role}")
        on.check("a second stack deploy changes nothing", "is up to date" in again)
    on.check(
        "the functions' roles have the boundary", lambda: state.has_boundary(on.world)
    )
    on.type(f"{MANAGE} dsql_database")
    on.type(f"{ZAPPA} deploy {primary}")
    # A continuous integration's variable must not split the deployment over two Regions.
    wrong = on.world.topology.regions[primary]
    said = on.type(f"{ZAPPA} deploy {secondary}", AWS_DEFAULT_REGION=wrong)
    on.check(
        "each Region has its own API and function", lambda: state.is_placed(on.world)
    )
    # The line that the deployment has just printed.
    verify = said.rpartition("manage.py dsql_verify")[2].splitlines()[0]
    on.type(f"{MANAGE} dsql_verify --yes{verify}")
    on.rows.append(("created", "; ".join(state.list_created(on.world))))


def serve(on: Rehearsal) -> None:
    """The three curl checks on the public stage, then everything that callers may expect."""
    first, second = state.list_urls(on.world, "prod")
    health = on.type(f"curl -fsS {first}/health")
    on.check("/health is ok", lambda: json.loads(health)["status"] == "ok")
    created = on.type(
        f"curl -fsS -X POST {first}/users -H 'Content-Type: application/json' "
        f"""-d '{{"name": "Ada Löwe", "email": "ada@example.com"}}'"""
    )
    listed = on.type(f"curl -fsS {second}/users")
    on.check(
        "what one Region wrote, the other lists",
        lambda: (
            json.loads(created)["id"] in {u["id"] for u in json.loads(listed)["users"]}
        ),
    )
    for what, holds in api_checks.list_checks(on.world):
        on.check(what, holds)


def troubleshoot(on: Rehearsal) -> None:
    """The README's commands about Lambda, as printed: nothing at first, then the reason."""
    for row, command in troubleshooting.commands().items():
        said = on.type(command)
        shown = troubleshooting.SHOWN[row]
        on.check(f"{row}: nothing is shown yet", not re.search(shown, said))
    on.check(
        "what Lambda ends is 502 or 504 as a problem, and the next request is served",
        lambda: troubleshooting.provoke_problems(on.world),
    )
    for row, command in troubleshooting.commands().items():
        said = on.type(command)
        shown = troubleshooting.SHOWN[row]
        on.check(f"{row}: the reason is shown", bool(re.search(shown, said)))


def measure(on: Rehearsal) -> None:
    """Cold starts in fresh environments, then a warm one."""
    found = measurements.measure_cold_starts(on.world)
    warm, rss = measurements.measure_warm(on.world, WARM_CALLS)
    on.rows += [
        ("cold init, CPU ms", f"{statistics.median(f.init for f in found) * 1000:.0f}"),
        (
            "first request, CPU ms",
            f"{statistics.median(f.first for f in found) * 1000:.1f}",
        ),
        ("warm GET of a user, p50 ms", f"{statistics.median(warm) * 1000:.1f}"),
        ("RSS, MB", f"{rss / 1e6:.0f}"),
    ]


def change(on: Rehearsal) -> None:
    """Every deployment converges, whatever was before it."""
    primary, secondary = on.world.topology.regions
    on.type(f"{ZAPPA} update {primary}")
    on.check(
        "the public stage serves after an update, Zappa's own does not",
        lambda: api_checks.is_serving(on.world),
    )
    damage.spoil_stage(on.world, primary)
    damage.put_role_into_integrations(on.world, primary)
    on.type(f"{ZAPPA} update {primary}")
    on.check("an update takes the role out of the integrations",
             lambda: state.is_invoked_by_permission(on.world, primary))  # fmt: skip
    on.check("both Regions serve", lambda: api_checks.is_serving(on.world))
    on.check("an update puts the stage's settings back",
             lambda: state.is_hardened(on.world, primary))  # fmt: skip
    on.check(
        "and drops variables that are no longer set",
        lambda: not state.has_variable(on.world, primary, "LEFT_OVER", "1"),
    )
    again = on.type(f"{ZAPPA} deploy --all")
    on.check("a second deploy updates both stages", again.count("updating it") == 2)
    shown = on.type(f"{ZAPPA} status --all")
    on.check("both have a status", shown.count("Lambda Versions") == 2)
    for text in ("stack", "is not deployed: nothing to remove"):
        removed = on.type(f"{ZAPPA} undeploy {secondary} --yes")
        on.check(f"an undeployment says {text!r}", text in removed)
    damage.leave_half_a_deployment(on.world, secondary)
    refused = on.type(f"{ZAPPA} deploy {secondary}", expect=1)
    on.check("a function without our tags is left", "is not ours" in refused)
    damage.tag_as_ours(on.world, secondary)
    again = on.type(f"{ZAPPA} deploy {secondary}")
    on.check("a deploy after a failed one starts anew", "is made again" in again)
    on.check("both Regions serve", lambda: api_checks.is_serving(on.world))
    on.check("and name each other", lambda: api_checks.pages_name_each_other(on.world))
    rotate_key(on)
    unnamed = on.type(f"{MANAGE} deploy --yes", expect=1)
    on.check("who lets everyone in must say so", "--access none" in unnamed)
    on.type(f"{MANAGE} deploy --yes --access none")
    on.check("both Regions serve", lambda: api_checks.is_serving(on.world))
    fail_to_deploy(on)


def rotate_key(on: Rehearsal) -> None:
    """One command, while both Regions serve."""
    primary, secondary = on.world.topology.regions
    keys = partial(state.find_signing_keys, on.world)
    cursor, before = api_checks.find_next_link(on.world, primary), keys()
    on.type(f"{MANAGE} stack rotate-key")
    on.check(
        "one command gives both functions one new key",
        lambda: len(keys() - before) == len(keys()) == 1,
    )
    for role in (primary, secondary):
        made_after = api_checks.find_next_link(on.world, role)
        for link in (cursor, made_after):
            on.check(
                "page links made before and after it work in both Regions",
                partial(api_checks.is_followed, on.world, link),
            )
    on.type(f"{ZAPPA} update {secondary}")
    on.check("an update keeps the new key", lambda: len(keys()) == 1)


def fail_to_deploy(on: Rehearsal) -> None:
    """The second Region does not serve what it got: both get back what they had."""
    primary, secondary = on.world.topology.regions
    on.world.functions.sick.add(on.world.topology.regions[secondary])
    deploy = f"{MANAGE} deploy --yes --access none"
    said = on.type(deploy, expect=1, API_RATE_LIMIT="7")
    on.check(
        "a deployment that fails says what became of each Region",
        f"{primary} is as it was before" in said
        and f"{secondary} could not be put back" in said,
    )
    on.world.functions.sick.clear()
    on.check("both Regions serve again", lambda: api_checks.is_serving(on.world))
    for role in (primary, secondary):
        on.check(
            f"{role} has its variables back",
            not state.has_variable(on.world, role, "API_RATE_LIMIT", "7"),
        )


def close_to_strangers(on: Rehearsal) -> None:
    """The same deployment under oidc, from the choice to the README's last line."""
    issuer = on.world.issuer
    on.world.environ |= issuer.environ
    deploy = f"{MANAGE} deploy --yes"
    unnamed = on.type(deploy, expect=1)
    on.check(
        "a deployment under oidc names its token first",
        "API_TOKEN is not set" in unnamed,
    )
    for token, why in (
        (issuer.token("users:read"), "lacks the scope users:write"),
        (issuer.token(minutes=-5), "expired"),
    ):
        refused = on.type(deploy, expect=1, API_TOKEN=token)
        on.check(f"and a token that {why} is refused before the first step",
                 why in refused and "==>" not in refused)  # fmt: skip
    on.check("nothing was changed", lambda: api_checks.is_serving(on.world))
    said = on.type(deploy, API_TOKEN=issuer.token())
    on.check("with one, it ends with a user read in the other Region",
             "POST in each Region, GET in the other: found at once" in said)  # fmt: skip
    on.check("without one nobody is let in, and health is told",
             lambda: api_checks.requires_tokens(on.world, issuer.token()))  # fmt: skip
    on.check("integrations have no credentials under oidc either",
             lambda: all(state.is_invoked_by_permission(on.world, s)
                         for s in on.world.topology.regions))  # fmt: skip
    urls = zip(
        on.world.topology.regions, state.list_urls(on.world, "prod"), strict=True
    )
    verify = " ".join(
        [f"{MANAGE} dsql_verify --yes", *(f"--api-url {r}={u}" for r, u in urls)]
    )
    said = on.type(verify, API_TOKEN=issuer.token())
    on.check("the last line passes whole",
             re.search(r"^\d+ pass$", said, re.MULTILINE) is not None)  # fmt: skip
    said = on.type(verify)
    on.check("without a token it says what it left out", "set API_TOKEN" in said)


def destroy(on: Rehearsal) -> None:
    on.type(f"{MANAGE} destroy --yes")
    left = state.list_remains(on.world)
    on.check(f"nothing is left {left or ''}", lambda: not left)
    leftovers = [
        path.name for path in Path(PROJECT).glob(f"{on.world.topology.prefix}-*")
    ]
    on.check(f"no file is left {leftovers or ''}", lambda: not leftovers)
    denied = calls.not_allowed(on.world.called, on.world.topology, ACCOUNT)
    on.check(
        f"the printed policies allow all that was called {denied or ''}", not denied
    )
    on.rows.append(("left", "nothing"))
    refused = on.world.quotas.refused
    on.check("API Gateway's quotas refused calls, which were repeated", bool(refused))
    counted = ", ".join(
        f"{refused.count(name)} {name}" for name in sorted(set(refused))
    )
    on.rows.append(("answered 429", counted))


if __name__ == "__main__":
    sys.exit(main())
