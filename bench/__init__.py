"""What reading and writing cost here, beside other libraries and the limits of the machine."""
