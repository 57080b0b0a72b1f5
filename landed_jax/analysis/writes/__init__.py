"""What is written to the stream: one write by name, one number for every write, and products of all of them."""
