"""Properties that can be called through the class, where a field has taken their name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    hideable = property
else:

    class hideable(property):  # noqa: N801
        """A property that is also called through its class: ``SampleBatch.keys(batch)``."""

        def __call__(self, owner: object) -> Any:
            return self.fget(owner)
