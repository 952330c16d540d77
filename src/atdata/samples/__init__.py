"""One sample and its bytes."""
