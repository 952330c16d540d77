"""Shards of other packages read here, ours read there."""
