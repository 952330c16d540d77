"""The workloads as sample types, for this package and the one on PyPI, both called atdata.

Annotations are evaluated at once: the package on PyPI does not recognise an array field whose
annotation is a string.
"""

# mypy: disable-error-code="type-arg"

from functools import cache

from numpy.typing import NDArray


@cache
def sample_types() -> dict[str, type]:
    """Workload → sample type, of whichever package is installed."""
    import atdata

    @atdata.packable
    class Features:
        features: NDArray
        label: int
        name: str

    @atdata.packable
    class Image:
        image: NDArray
        label: int

    @atdata.packable
    class Embedding:
        x: NDArray
        label: int

    @atdata.packable
    class Varied:
        features: NDArray
        name: str
        extra: NDArray | None = None

    return {"F": Features, "I": Image, "E": Embedding, "V": Varied}
