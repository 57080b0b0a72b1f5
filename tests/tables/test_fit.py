"""Tables at every width: names and numbers whole, tokens whole or with an ellipsis, columns there or named."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landed_jax.tables.draw import draw, text_of
from landed_jax.tables.fit import fit
from landed_jax.tables.flow import flow
from landed_jax.tables.html import html_of
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.screen import Screen
from landed_jax.tables.table import Column, Paragraph, Table

# What makes trouble: wide and combining characters, controls, escapes of terminals, bidi overrides, NUL, lone
# surrogates, Rich's markup, quotes and backslashes, characters without a width, emoji with a selector.
TROUBLE = (
    "北京の한\u0301\u0338\u200d\ufe0f❤👍🏽\u05c1\u0e49\u1160שเ"
    "\0\x1b\x07\x9b\n\r\t\u202e\u2066\u2028\ud800\udfff[/]red'\"\\ …·"
)
TEXTS = st.text(st.one_of(st.sampled_from(TROUBLE), st.characters(codec=None)), max_size=40)
WIDTHS = st.integers(40, 200)


def cells(text: str) -> int:
    """An upper bound of the cells of printed text, which is not Rich's: an emoji's selector may make its base wide."""
    width = {"W": 2, "F": 2}
    marks = [unicodedata.category(c) in ("Mn", "Me") or 0x1160 <= ord(c) < 0x1200 for c in text]
    return sum(
        0 if mark else width.get(unicodedata.east_asian_width(c), 1) for c, mark in zip(text, marks, strict=True)
    )


@st.composite
def tables(draw_: st.DrawFn) -> Table:
    """Keys, tokens and numbers, with distinct numbers, so that one cannot be taken for another."""
    number = draw_(st.integers(1, 6))
    columns = [Column("write", left=True)]
    columns += [Column("from token", left=True, drop=draw_(st.none() | st.integers(5, 9)), legend="from token: source")]
    for i in range(number):
        columns.append(
            Column(f"logit\nnumber{i}", drop=draw_(st.none() | st.integers(1, 9)), group=draw_(st.integers(0, 2)))
        )
    size = draw_(st.integers(1, 5))
    names = draw_(
        st.lists(st.from_regex(r"[0-9]{1,2}\.(neuron|head)\.[0-9]{1,5}", fullmatch=True), min_size=size, max_size=size)
    )
    rows = []
    for r, name in enumerate(names):
        token = Quoted(draw_(TEXTS), before=draw_(st.sampled_from(["", "-", "+"])), after=f"@{r}")
        rows.append([name, token, *(f"+{10 * r + i}.{draw_(st.integers(0, 9999)):04d}" for i in range(number))])
    return Table(draw_(st.sampled_from(["Largest", [Quoted("[red]")]])), columns, rows, elsewhere="--json")


@settings(max_examples=150, deadline=None)
@given(tables(), WIDTHS, st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_a_table_at_any_width(table: Table, width: int, encoding: str) -> None:
    screen = Screen(width, encoding)
    lines = [line.text for line in draw([table], screen)]
    text = "\n".join(lines)
    assert text.encode(encoding) is not None
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert "\ufe0f" in line or cells(line) <= width, ascii(line)
    grids, left_out = fit(table, screen)
    shown = [i for grid in grids for i in grid.columns if i >= table.keys]
    # Each column once: shown, or left out by name.
    assert sorted([*shown, *left_out]) == list(range(table.keys, len(table.columns)))
    note = " ".join(text.split("Left out at this width: ")[-1].split()) if left_out else ""
    for i in left_out:
        assert table.columns[i].drop is not None and table.columns[i].name in note
    # In the order that the table states: nothing that is left out comes after something that is shown.
    if len(grids) == 1:
        later = [drop for i in shown if (drop := table.columns[i].drop) is not None]
        assert all((table.columns[i].drop or 0) <= drop for i in left_out for drop in later)
    # Every number of a column that is shown stands there whole, and no other number does.
    numbers = re.findall(r"(?<!\S)\+[0-9]+\.[0-9]{4}(?!\S)", text)
    wanted = [row[i] for row in table.rows for i in shown if i > 1]
    assert sorted(n for n in numbers if n in wanted) == sorted(wanted)
    body = [line for line in lines if re.match(r"[0-9]{1,2}\.(neuron|head)\.", line)]
    assert [line.split(" ")[0] for line in body] == [row[0] for row in table.rows] * len(grids)
    for cell in (row[1] for row in table.rows if 1 in shown):
        assert isinstance(cell, Quoted)
        assert_whole_or_marked(cell, [line for line in body if cell.after in line], screen)


def assert_whole_or_marked(cell: Quoted, lines: list[str], screen: Screen) -> None:
    """The token stands in each line as a whole, or as a beginning with the ellipsis behind the quote."""
    whole = cell.fit(None, screen)
    for line in lines:
        if whole not in line:
            shortened = {cell.fit(width, screen) for width in range(1, len(line))} - {whole}
            assert any(f" {shown}" in line for shown in shortened), ascii((whole, line))


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(6, 60))
def test_a_token_is_a_beginning_of_itself(text: str, width: int) -> None:
    screen = Screen()
    whole, shown = Quoted(text).fit(None, screen), Quoted(text).fit(width, screen)
    assert shown.isprintable()
    if shown != whole:
        assert shown.endswith("…") and (shown == "…" or (whole.startswith(shown[:-2]) and shown[-2] == whole[0]))
        assert "\ufe0f" in shown or cells(shown) <= width
        # No escape is cut, and no mark parted from its character.
        if shown != "…":
            rest = whole[len(shown) - 2 :]
            assert unicodedata.category(rest[0]) not in ("Mn", "Me")
            assert eval(shown[:-1]) == text[: len(eval(shown[:-1]))]
    assert eval(whole) == text


@settings(max_examples=200, deadline=None)
@given(TEXTS, WIDTHS)
def test_prompts_and_names_in_lines(text: str, width: int) -> None:
    lines = flow([Name(text or "-"), Passage(text), "logit", Quoted(text, after=":"), "1.25"], Screen(width))
    for line in lines:
        assert line.isprintable()
        assert "\ufe0f" in line or cells(line) <= width
    if len(text) < 20:
        assert Quoted(text).fit(None, Screen()) in "".join(lines)


def test_of_a_long_prompt_the_beginning_and_the_end() -> None:
    lines = flow([Passage("first " + "word " * 10_000 + "last")], Screen(50))
    assert len(lines) <= 6 and lines[0].startswith("'first word") and lines[-1].endswith("last'")
    assert "…" in "".join(lines)


def test_marks_do_not_pile_up() -> None:
    shown = Quoted("a" + "\u0301" * 50).fit(None, Screen())
    assert max(len(run) for run in re.findall("\u0301+", shown)) == 3
    assert shown.count("\\u0301") == 47


def test_a_name_keeps_its_beginning_and_its_end() -> None:
    assert Name("C:\\models\\llama").fit(40, Screen()) == "C:\\models\\llama"
    shown = Name("/home/ann/" + "x" * 100 + "/llama").fit(40, Screen())
    assert len(shown) == 40 and shown.startswith("/home/ann/") and shown.endswith("/llama") and "…" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_that_fits_is_whole(width: int) -> None:
    table = Table("T", [Column("write", left=True), Column("landed", drop=1)], [["0.head.1", "+1.0000"]])
    assert text_of([table], Screen(width)).splitlines() == [
        "T",
        "write      landed",
        "─────────────────",
        "0.head.1  +1.0000",
    ]


def test_html_has_all_columns_and_escapes() -> None:
    rows = [[f"{i}.head.{i}" for i in range(30)]]
    table = Table([Quoted("<script>")], [Column(f"c{i}", drop=i + 1) for i in range(30)], rows)
    shown = html_of([Paragraph(["a", Quoted("\x1b[31m\u202e")]), table])
    assert shown.count("<td>") == 30 and "<script>" not in shown
    assert "\\x1b[31m\\u202e" in shown and shown.isprintable()
