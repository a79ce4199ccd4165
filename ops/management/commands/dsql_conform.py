import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import CommandError

from ops.clusters import inventory
from ops.clusters.command import ClusterCommand, target
from ops.clusters.inventory import READY, Cluster
from ops.conformance import corpus, report
from ops.conformance.adopt import build_patch
from ops.conformance.compare import compare
from ops.conformance.corpus import PROTOCOLS, CorpusError
from ops.conformance.progress import Progress, ProgressError, read
from ops.conformance.run import RunError, Runner
from ops.conformance.sessions import Address, SilentError, wake
from ops.prompt import agreed
from ops.target import manage
from ops.topology import PRIMARY, ROLES, Topology

OUTPUT = Path("dsql_conform.json")


class Command(ClusterCommand):
    help = (
        "Ask a cluster whether it does what the corpus in ops/conformance/corpus expects, in a "
        "schema of its own that is dropped afterwards; exit 1 when something differs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--only", choices=("all", "assumptions"), default="all",
            help="assumptions: what no source or only one knows, in about two minutes",
        )  # fmt: skip
        parser.add_argument(
            "--case", action="append", default=[], metavar="NAME",
            help="a case or a file of the corpus; repeat it for several",
        )  # fmt: skip
        parser.add_argument(
            "--protocol", choices=PROTOCOLS, action="append", help="default: both"
        )
        parser.add_argument(
            "--role", choices=ROLES, default=PRIMARY, help="default: primary"
        )
        parser.add_argument(
            "--output", type=Path, default=OUTPUT, metavar="FILE",
            help=f"what was seen, which another run continues; default: {OUTPUT}",
        )  # fmt: skip
        parser.add_argument(
            "--fresh", action="store_true", help="forget what FILE has; begin anew"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--adopt", type=Path, metavar="FILE",
            help="run nothing: print what FILE has as a patch of the corpus",
        )  # fmt: skip

    def work(
        self,
        topology: Topology,
        *,
        adopt: Path | None,
        format: str,
        **options: Any,
    ) -> None:
        try:
            data = corpus.load()
            if adopt is not None:
                self._adopt(data, adopt)
            else:
                self._conform(data, topology, format=format, **options)
        except (CorpusError, ProgressError, RunError, SilentError) as error:
            raise CommandError(str(error)) from error
        except psycopg.Error as error:
            raise CommandError(" ".join(str(error).split())) from error

    def _adopt(self, data: corpus.Corpus, file: Path) -> None:
        for line in build_patch(data, read(file)):
            self.stdout.write(line)

    def _conform(
        self,
        data: corpus.Corpus,
        topology: Topology,
        *,
        only: str,
        case: list[str],
        protocol: list[str] | None,
        role: str,
        output: Path,
        fresh: bool,
        yes: bool,
        format: str,
        **_: Any,
    ) -> None:
        cases, protocols = data.select(only=only, names=case), protocol or PROTOCOLS
        if not cases:
            raise CommandError(f"The corpus has no case or file {', '.join(case)}.")
        say: Callable[[str], None] = self.stderr.write
        say(target())
        cluster = _find_cluster(topology, role)
        say(f"{cluster.endpoint}: {report.estimate(cases, protocols)}")
        if not yes and not agreed("Go on? [y/N] "):
            raise CommandError("Nothing was run; --yes does not ask.")
        if fresh:
            output.unlink(missing_ok=True)
        progress = Progress.open(output, cluster.endpoint, data)
        address = Address(cluster.endpoint, cluster.region)
        first = wake(address)
        progress.first_login = first.as_json()
        progress.save()  # the schema's name too, should this process be killed
        say(f"The first login took {first.seconds:.1f} s. {' '.join(first.refusals)}")
        try:
            with Runner(address, data, progress, cluster.account).prepared() as runner:
                progress.version = runner.version()
                runner.run(cases, protocols, say)
        finally:
            progress.save()
        agreement = compare(cases, progress.seen)
        if format == "json":
            self.stdout.write(json.dumps(report.as_json(agreement), indent=2))
        else:
            for line in report.render(agreement):
                self.stdout.write(line)
        say(f"What was seen is in {output}.")
        if agreement.differences:
            raise SystemExit(1)


def _find_cluster(topology: Topology, role: str) -> Cluster:
    cluster = inventory.take(topology).members().get(role)
    if cluster is None or cluster.status not in READY:
        status = "missing" if cluster is None else cluster.status
        raise CommandError(
            f"{topology.regions.get(role, role)}: the cluster is {status}. "
            f"First: {manage('dsql_provision')}"
        )
    return cluster
