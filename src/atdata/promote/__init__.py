"""Promotion: a dataset of a local index becomes a dataset of the network.

The one room that knows both indexes. The order is always the same: plan, which writes nothing
and refuses what cannot succeed; find or publish the schema; copy the shards if asked; write the
record last. So a failure leaves no dataset record, and running it again resumes.
"""

from atdata.capabilities import shards_of_entry
from atdata.promote.plan import PromotionPlan, SchemaPlan
from atdata.promote.promotion import plan_promotion, promote_to_atmosphere

__all__ = [
    "PromotionPlan",
    "SchemaPlan",
    "plan_promotion",
    "promote_to_atmosphere",
    "shards_of_entry",
]
