"""How numbers are shown that are no plain decimals."""

import math


def within(error: float) -> str:
    """A closure error.

    >>> within(1.9e-6), within(0.0)
    ('within 1.9e-06', 'within 0')
    """
    return f"within {error:.1e}" if error else "within 0"


def chance(log_probability: float) -> str:
    """A probability, never rounded to all or nothing.

    >>> chance(math.log(0.25)), chance(-1e-6), chance(-20.0)
    ('25.00%', '>99.99%', '2.1e-09')
    """
    probability = math.exp(log_probability)
    if probability > 0.99995:
        return ">99.99%"
    return f"{probability:.2%}" if probability >= 1e-4 else f"{probability:.1e}"


def significant(number: float) -> str:
    """Three digits, with separators where there are more before the point.

    >>> significant(0.012345), significant(98.765), significant(131072.0), significant(float("nan"))
    ('0.0123', '98.8', '131,072', 'nan')
    """
    if abs(number) >= 1000 and math.isfinite(number):
        return f"{number:,.0f}"
    return f"{number:.3g}"
