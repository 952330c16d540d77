"""What reading and writing cost, compared with other libraries and the machine's limits."""
