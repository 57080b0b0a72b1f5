"""Claims and their measurement."""
