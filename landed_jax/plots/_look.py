"""How figures look: Matplotlib's own settings while a figure is made, fonts, colours. The user's stay as they are."""

import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from landed_jax.errors import LandedError
from landed_jax.printable import printable
from landed_jax.tables.screen import Screen

# Okabe and Ito's colours, which differ for every kind of colour vision; of the first four the greys differ too.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#56B4E9", "#D55E00")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (7, 3)))
MARKERS = "osD^vPX"
FILLS = ("#0072B2", "#E69F00", "#B0B0B0", "#CC79A7", "#009E73", "#56B4E9", "#D55E00")
# No dots or circles: in a vector file they are thousands of curves.
HATCHES = ("", "////", r"\\", "xxxx", "----", "++++", "||||")
SIGNED, UNSIGNED, MISSING = "RdBu_r", "cividis", "0.8"
NEGATIVE_HATCH = "////"

_FINE = 10  # times the size: pixels would round widths
_FONT = "DejaVu Sans"  # comes with Matplotlib
# What writing systems and signs that it lacks are looked for in, where one of these is installed.
_OTHERS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Symbols2",
    "Noto Emoji",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Segoe UI Symbol",
    "Segoe UI Emoji",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
)


def has_matplotlib() -> bool:
    """Whether Matplotlib is installed; it is not imported."""
    return importlib.util.find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """Refuse to draw where Matplotlib is missing.

    Raises:
        LandedError: saying what to install.
    """
    if not has_matplotlib():
        raise LandedError("Figures need Matplotlib, which is not installed: pip install 'landed-jax[plots]'.")


@contextlib.contextmanager
def look(size: float) -> Iterator[None]:
    """Matplotlib's settings for what is made inside; afterwards they are the user's again.

    Args:
        size: of the text, in points.
    """
    import matplotlib

    settings: dict[Any, Any] = {
        "font.family": list(font_names()),
        "font.size": size,
        "axes.titlesize": size + 1,
        "axes.titleweight": "normal",
        "axes.titlelocation": "left",
        "axes.labelsize": size,
        "xtick.labelsize": size - 1,
        "ytick.labelsize": size - 1,
        "legend.fontsize": size - 1,
        "axes.linewidth": 0.6,
        "axes.grid": False,
        "axes.facecolor": "white",
        "figure.facecolor": "white",
        "hatch.linewidth": 0.5,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.5,
        # Tokens hold dollars, backslashes and braces, which are no formulas.
        "text.parse_math": False,
        "text.usetex": False,
        "axes.formatter.use_mathtext": False,
    }
    with matplotlib.rc_context(settings):
        yield


@functools.cache
def font_names() -> tuple[str, ...]:
    """The fonts that are used, in the order in which a character is looked for in them."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return (_FONT, *(name for name in _OTHERS if name in installed))


@functools.cache
def _characters() -> frozenset[int]:
    from matplotlib import font_manager

    paths = [font_manager.findfont(name, fallback_to_default=False) for name in font_names()]
    return frozenset(code for path in paths for code in font_manager.get_font(path).get_charmap())


def width_of(text: str, points: float) -> float:
    """How wide a line is, in inches: digits and capitals are wider than letters."""
    from matplotlib import font_manager

    font = font_manager.get_font([font_manager.findfont(name) for name in font_names()])
    font.set_size(_FINE * points, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / _FINE / 72


@dataclass(frozen=True)
class FontScreen(Screen):
    r"""A line of text in a figure: characters that no font has are escaped, in place of an empty box.

    >>> from landed_jax.tables.quoted import Quoted
    >>> Quoted(" \U000f0000$x$").fit(None, FontScreen())
    "' \\U000f0000$x$'"
    """

    def holds(self, text: str) -> bool:
        return all(ord(char) in _characters() for char in text)

    def own(self, text: str) -> str:
        shown = printable(text)
        return "".join(c if self.holds(c) else c.encode("unicode_escape").decode("ascii") for c in shown)
