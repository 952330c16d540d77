"""Bytes from elsewhere: the gate for untrusted addresses, transport, deadlines, identity."""
