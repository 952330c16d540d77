"""How the values of each kind of field lie in an Arrow column."""
