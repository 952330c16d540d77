"""pyarrow, loaded on first use of a table, with an error that installs it."""

from __future__ import annotations

from typing import Any, Final

from atdata._registry import require

pa: Final[Any] = require("pyarrow", purpose="tables")
pc: Final[Any] = require("pyarrow.compute", purpose="tables")
