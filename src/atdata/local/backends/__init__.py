"""Databases that can hold a local index."""
