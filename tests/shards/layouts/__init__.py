"""Shards of several members a sample."""
