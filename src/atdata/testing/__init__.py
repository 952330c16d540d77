"""For those who build on atdata: conformance suites, sample strategies, a network to test against.

Nothing is loaded here; each part is imported by its own name, such as ``atdata.testing.network``.
"""
