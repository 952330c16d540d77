"""``python -m atdata.cli``: the same as ``python -m atdata``, as it was called at first."""

from __future__ import annotations

from atdata.cli import main

if __name__ == "__main__":
    main()
