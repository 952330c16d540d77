"""Run the network by hand: ``python -m atdata.testing.network``; Ctrl-C ends it."""

from __future__ import annotations

import argparse
import json
import shlex
import sys

from atdata.errors import SandboxError
from atdata.testing.network import install, start, wait_for_end


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Start, say what to export, wait. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m atdata.testing.network", description=__doc__)
    parser.add_argument("--servers", type=int, default=2, help="how many servers (2)")
    parser.add_argument("--ports", type=int, nargs="*", default=[], help="directory's, servers'")
    parser.add_argument("--blob-limit", type=int, help="largest blob in bytes (5 MiB)")
    parser.add_argument("--rate-limits", action="store_true", help="count and refuse requests")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead")
    parser.add_argument("--install", action="store_true", help="only fetch what is needed")
    options = parser.parse_args()
    try:
        if options.install:
            install(_report)
            return 0
        network = start(
            options.servers,
            ports=options.ports,
            blob_limit=options.blob_limit,
            rate_limits=options.rate_limits,
            report=_report,
        )
    except SandboxError as error:
        print(json.dumps({"unavailable": str(error)}) if options.json else f"error: {error}")
        return 1
    with network:
        if options.json:
            print(json.dumps(network.to_json()), flush=True)
        else:
            for name, value in network.environment().items():
                print(f"export {name}={shlex.quote(value)}")
            print("# The network runs until Ctrl-C.", flush=True)
        wait_for_end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
