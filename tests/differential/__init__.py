"""Random programs, run by the package and by a model of lists, dicts, tarfile and msgpack."""
