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


def duration(seconds: float) -> str:
    """Seconds in a unit that a reader can imagine, three digits.

    >>> duration(0.0123), duration(95.0), duration(7200.0), duration(260_000.0), duration(4e8)
    ('12.3 ms', '95 s', '2 h', '3.01 days', '12.7 years')
    """
    # Of minutes and more there are at least two: below, the smaller unit says more.
    minute, day = 60, 86400
    units = ((365.25 * day, "years", 2), (day, "days", 2), (3600, "h", 2), (minute, "min", 2), (1, "s", 1))
    found = next(((size, unit) for size, unit, least in units if seconds >= least * size), None)
    size, unit = found or ((1e-3, "ms") if seconds >= 1e-3 else (1e-6, "µs"))
    return f"{significant(seconds / size)} {unit}"
