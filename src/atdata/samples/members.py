"""Members that a field may hide, and which the class gives all the same"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    member = property
else:

    class member(property):  # noqa: N801
        """A property that the class gives of an object as well: ``SampleBatch.keys(batch)``."""

        def __call__(self, owner: object) -> Any:
            return self.fget(owner)
