"""Many shards as one typed dataset."""
