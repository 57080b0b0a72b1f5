"""Heat maps at every width: each column once, numbers whole, shades in order, nothing that acts on a terminal."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landed_jax.tables.draw import draw
from landed_jax.tables.heat_map import HeatMap, shade_of
from landed_jax.tables.html import html_of
from landed_jax.tables.screen import Screen
from tests.tables.test_fit import TEXTS, WIDTHS, cells


def heat_map(rows: int, tokens: list[str], values: list[list[float]]) -> HeatMap:
    columns = [(str(place), text) for place, text in enumerate(tokens)]
    return HeatMap("Fraction", "layer", [str(row) for row in range(rows)], columns, values, 1.0, 0.01)


@st.composite
def maps(draw_: st.DrawFn) -> HeatMap:
    rows, tokens = draw_(st.integers(1, 6)), draw_(st.lists(TEXTS, min_size=1, max_size=90))
    value = st.floats(-1, 1) | st.just(float("nan"))
    values = [draw_(st.lists(value, min_size=len(tokens), max_size=len(tokens))) for _ in range(rows)]
    return heat_map(rows, tokens, values)


@settings(max_examples=100, deadline=None)
@given(maps(), WIDTHS, st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_a_map_at_any_width(drawn: HeatMap, width: int, encoding: str) -> None:
    lines = [line.text for line in draw([drawn], Screen(width, encoding))]
    for line in lines:
        assert line.isprintable(), ascii(line)
        line.encode(encoding)
        assert "\ufe0f" in line or cells(line) <= width, ascii(line)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_thirty_layers_and_twenty_tokens(width: int) -> None:
    """The layers without a shade are one line; every other has a cell for each token."""
    values = [[0.0] * 20 for _ in range(30)]
    values[11][3], values[12][19], values[29][0] = 1.0, -0.6, 0.07
    lines = [line.text for line in draw([heat_map(30, [" token"] * 20, values)], Screen(width))]
    body = [line.split() for line in lines if re.match(r"\d+(–\d+)? ", line)]
    assert [row[0] for row in body] == ["0–10", "11", "12", "13–28", "29"]
    if width == 200:
        assert [row[1 + column] for row, column in zip((body[1], body[2], body[4]), (3, 19, 0), strict=True)] == [
            "███100",
            "≡≡≡-60",
            "░░░",
        ] or body[4][1:3] == ["░░░", "7"]
    else:
        assert all(len(row) == 21 for row in body) or width == 40
        assert "Numbers have no room at this width." in "\n".join(lines)
    named = "".join(line for line in lines if line.startswith("layer"))
    assert re.findall(r"\d", named)


def test_what_has_no_room_goes_on_below() -> None:
    values = [[0.01 * column for column in range(90)]]
    lines = [line.text for line in draw([heat_map(1, [""] * 90, values)], Screen(40))]
    shades = "".join(line[6:] for line in lines if re.match("0 ", line))
    assert shades == "".join(shade_of(value, 1.0) for value in values[0])
    assert sum(line.startswith("layer") for line in lines) == 3


def test_shades_are_in_order() -> None:
    for sign, ramp in ((1, ".░▒▓█"), (-1, ".-=≡#")):
        shades = [shade_of(sign * part / 100, 1.0) for part in range(101)]
        assert list(dict.fromkeys(shades)) == list(ramp) and shades == sorted(shades, key=ramp.index)
    assert shade_of(0.0, 0.0) == "."


def test_a_token_is_named_whole_where_it_is_shortened() -> None:
    tokens = [" Constantinople" * 5, " of", "\x1b[31m", "   "]
    drawn = heat_map(1, tokens, [[1.0, 0.5, 0.2, 0.0]])
    text = " ".join(" ".join(line.text for line in draw([drawn], Screen(80))).split())
    assert "Shortened above: 0 ' Constantinople" in text and "\x1b" not in text
    assert "\\x1b[31m" in text and "␣␣␣" in text


def test_in_html_all_numbers_are_there() -> None:
    html = html_of([heat_map(2, ["<b>", " of"], [[1.0, -0.25], [0.5, float("nan")]])])
    assert "<b>" not in html.replace("&lt;b&gt;", "") and html.count("<tr>") == 3
    assert all(number in html for number in ("1", "-0.25", "0.5", "nan"))
