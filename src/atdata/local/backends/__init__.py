"""The databases that can hold a local index."""
