"""Files and folders that are there whole or not at all, and what may be read of those that others made."""
