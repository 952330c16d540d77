"""Run by the peer's own Python, with scipy, pyarrow, pandas and safetensors: ``FOLDER``.

Writes ``formats.tar``: fields that the peer stores in the formats of other libraries.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
from safetensors.numpy import save

import atdata


@atdata.packable
class Formats:
    """A field for each format."""

    name: str
    sparse: Any
    structured: Any
    tensor: Any
    frame: Any
    weights: bytes


def rows() -> list[Formats]:
    """Two samples."""
    made = []
    for n, matrix in enumerate((sp.csr_matrix, sp.coo_matrix)):
        values = np.arange(6, dtype=np.float32).reshape(2, 3) + n
        made.append(
            Formats(
                name=f"row {n}",
                sparse=matrix(np.diag([1.0, 2.0, 3.0 + n])),
                structured=np.array([(n, 0.5, "ab")], [("a", "<i4"), ("b", "<f8"), ("c", "<U4")]),
                tensor=pa.Tensor.from_numpy(values),
                frame=pd.DataFrame({"a": [1, 2 + n], "b": ["x", "y"]}),
                weights=save({"w": values}),
            )
        )
    return made


if __name__ == "__main__":
    atdata.write_samples(rows(), Path(sys.argv[1]) / "formats.tar")
