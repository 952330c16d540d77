"""Random bytes for everything that parses what strangers send: nothing but errors of ours."""
