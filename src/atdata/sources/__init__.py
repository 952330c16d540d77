"""Where shards are read from."""
