"""``python -m atdata``: the same as ``atdata``."""

from __future__ import annotations

from atdata.cli import main

if __name__ == "__main__":
    main()
