"""``python -m bench``: measure, print the tables and write ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from bench.contender import BEFORE, CHECKOUT_VARIABLE, contenders
from bench.envs import ROOT
from bench.processes import ContenderFailed
from bench.report import document, tables
from bench.run import FULL, QUICK, run
from bench.workloads import WORKLOADS


def main() -> int:
    """Run from the command line."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument(
        "--before", metavar="CHECKOUT", help="compare this package with itself there"
    )
    if checkout := first.parse_known_args()[0].before:
        # Workers inherit the variable, and contenders are made when their modules are imported.
        os.environ[CHECKOUT_VARIABLE] = str(Path(checkout).resolve())
    known = contenders()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, parents=[first])
    parser.add_argument("--quick", action="store_true", help="under two minutes; only print")
    parser.add_argument(
        "--rounds", type=int, help="turns of each contender; more on a busy machine"
    )
    parser.add_argument("--only", action="append", choices=list(known), help="repeat for several")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    arguments = parser.parse_args()
    only = arguments.only or [n for n in known if known[n].quick or not arguments.quick]
    if arguments.before:
        pairs = [name for name in only if BEFORE + name in known]
        only = [*pairs, *(BEFORE + name for name in pairs)]
    wanted = [known[name] for name in known if name in only]
    if read := {made.reads for made in wanted if made.reads} - {made.name for made in wanted}:
        parser.error(f"--only {' --only '.join(sorted(read))} is needed too: its files are read")
    workloads = [name for name in WORKLOADS if name in (arguments.workload or WORKLOADS)]
    try:
        scale = QUICK if arguments.quick else FULL
        results = run(replace(scale, rounds=arguments.rounds or scale.rounds), wanted, workloads)
    except ContenderFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables(results))
    if not (
        arguments.quick
        or arguments.only
        or arguments.workload
        or arguments.before
        or arguments.rounds
    ):
        path = ROOT / "docs" / "benchmarks.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(document(results) + "\n")
        print(f"\nwritten: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
