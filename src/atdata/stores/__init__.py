"""Where shards are written to."""
