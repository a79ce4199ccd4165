import argparse
import sys
import tempfile
from pathlib import Path

from tests.campaign.regions import regions
from tests.campaign.run import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--operations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        regions(Path(folder) / "sandbox") as served,
    ):
        campaign = Campaign(served, operations=options.operations, seed=options.seed)
        report = campaign.run()
        if report.findings:
            print((Path(folder) / "sandbox" / "servers.log").read_text())
            print((Path(folder) / "sandbox" / "sandbox.log").read_text())
    print("\n".join(report.lines()))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
