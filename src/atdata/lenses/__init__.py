"""Views of one sample type as another."""
