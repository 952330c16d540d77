"""Many payloads as columns, and columns as payloads."""
