"""Shards as runs of rows: by table, by scan, by position, or through a buffer."""
