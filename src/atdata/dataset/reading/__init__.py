"""Shards as runs of rows: by table, by scan, by position, through a buffer."""
