"""Which coordinates of the landed stream carry a value."""
