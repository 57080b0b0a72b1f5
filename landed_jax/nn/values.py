"""What a setting's value may be: checks of numbers that come from files."""

from typing import Any

LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
SMALLEST_FLOAT32 = 2.0**-149


def is_positive_float32(value: Any) -> bool:
    """Whether a value is a number above 0 that is neither 0 nor infinite in float32.

    >>> is_positive_float32(1e-6), is_positive_float32(1e-50), is_positive_float32(1e308), is_positive_float32("1")
    (True, False, False, False)
    """
    return is_number(value) and SMALLEST_FLOAT32 <= value <= LARGEST_FLOAT32


def is_number(value: Any) -> bool:
    """Whether a value is a whole number or a float; true and false are neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)  # NumPy's float64 is a float


def is_size(value: Any, least: int, most: int) -> bool:
    """Whether a value is a whole number from `least` to `most`."""
    return type(value) is int and least <= value <= most
