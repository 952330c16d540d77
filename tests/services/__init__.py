"""Real services for the tests: each starts on loopback, on a free port, in a folder of its own.

Every module has a ``start()`` context manager and can be run by hand, for example
``python -m tests.services.redis``: it prints one JSON line and ends on Ctrl-C or when its
standard input closes.
"""
