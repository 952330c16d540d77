"""How a sample lies in a tar: one msgpack member, or the members of WebDataset."""
