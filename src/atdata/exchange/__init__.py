"""Tables, pictures and arrays of other programs ↔ samples: one file a format."""
