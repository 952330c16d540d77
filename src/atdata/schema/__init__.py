"""A sample type as data."""
