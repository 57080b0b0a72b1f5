"""The parts of a value that coordinates are counted up to."""

PERCENTS = (50, 90, 99)
"""In percent of the value; the JSON's fields are ``for_50``, ``for_90`` and ``for_99``."""
