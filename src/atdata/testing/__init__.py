"""For packages that build on atdata: conformance suites, sample strategies, a test network.

Each part is imported by its own name, such as ``atdata.testing.network``.
"""
