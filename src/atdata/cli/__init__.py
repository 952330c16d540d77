"""The command line: ``atdata``, or ``python -m atdata``."""

from __future__ import annotations


def main() -> None:
    """Run the command line with the arguments of this process, and end the process."""
    from atdata.cli.standard_streams import prepared

    with prepared():
        # typer and rich are loaded here, so that no program pays for them but this one.
        from atdata.cli.app import app

        app(prog_name="atdata")
