"""Random bytes for every parser of untrusted input: only errors of ours may come out."""
