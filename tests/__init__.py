"""The test suite; a package so that `python -m tests.services.redis` runs from the root."""
