"""Figures against the results' own numbers, on short, padded, deep and 16-bit cases, and as files."""

import dataclasses
import importlib.util
import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

import landed_jax as landed
from landed_jax import LandedError, Logit, Tokens
from landed_jax.plots import drawing_of, plot
from tests.models import SMALL
from tests.plots.artists import bars_of, caption_of, drawn_axes, lines_of, mesh_of, names_of
from tests.plots.cases import made, model_of, small, trace, trace_of

ASKED = Logit(3, against=5)


def attribution() -> Any:
    return made("attribute")


@pytest.mark.quick
def test_the_largest_writes_have_both_numbers() -> None:
    ax = drawn_axes(attribution().plot(top=6, prompt=1))[0]
    rows = attribution().top(6, batch=1)
    landed_bars, effects = bars_of(ax).values()
    np.testing.assert_allclose(landed_bars, [row.landed for row in rows], rtol=1e-6)
    np.testing.assert_allclose(effects, [row.direct_effect for row in rows], rtol=1e-6)
    names = names_of(ax, "y")
    assert [name.rpartition(".")[2] for name in names if "head" in name] == [
        str(row.index) for row in rows if row.kind == "head"
    ]


def test_a_waterfall_ends_at_the_value() -> None:
    ax = drawn_axes(attribution().plot(show="layers"))[0]
    bars = [bar for container in ax.containers for bar in container]
    value = float(attribution().value[0, -1])
    parts = sorted(bars, key=lambda bar: bar.get_x())
    assert parts[-1].get_height() == pytest.approx(value, rel=1e-6) and parts[-1].get_y() == 0
    ends = [bar.get_y() + bar.get_height() for bar in parts[:-1]]
    np.testing.assert_allclose([bar.get_y() for bar in parts[1:-1]], ends[:-1], atol=1e-9)
    assert ends[-1] == pytest.approx(value, abs=1e-5)
    attn = np.asarray(attribution().landed.attn)[:, 0, -1]
    np.testing.assert_allclose(bars_of(ax)["attention"], attn, rtol=1e-6)


def test_heads_are_layers_by_heads_and_negative_ones_are_hatched() -> None:
    ax = drawn_axes(attribution().plot(show="heads", position=-2))[0]
    heads = np.asarray(attribution().landed.heads, np.float64)[:, 0, -2]
    np.testing.assert_array_equal(mesh_of(ax), heads)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("layer", "head")
    [hatched] = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    assert hatched.get_hatch()
    centres = hatched.get_path().vertices.reshape(-1, 5, 2)[:, :4].mean(axis=1)
    expected = np.argwhere(heads < -0.05 * np.abs(heads).max())[:, ::-1]
    assert {tuple(centre) for centre in centres.tolist()} == {tuple(map(float, cell)) for cell in expected.tolist()}


def test_the_curve_of_coordinates_ends_at_the_value() -> None:
    found = landed.coordinates(trace(), ASKED)
    parts = np.asarray(found.contributions, np.float64)[0, -1]
    curve, bars = drawn_axes(found.plot(top=4))
    [sums] = lines_of(curve).values()
    by_size = sorted(parts.tolist(), key=abs, reverse=True)
    np.testing.assert_allclose(sums, [sum(by_size[: n + 1]) for n in range(len(parts))], rtol=1e-9)
    np.testing.assert_array_equal(next(iter(bars_of(bars).values())), by_size[:4])


def test_the_range_of_the_amplification() -> None:
    found = landed.amplification(trace())
    ax = drawn_axes(found.plot())[0]
    [band] = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(float(found.maximum[:, 0, -1].max()))
    assert heights.min() == pytest.approx(float(found.minimum[:, 0, -1].min()))
    assert names_of(ax, "x") == list(trace().provenance.order.sites)


def test_the_means_of_head_scores() -> None:
    found = made("HeadScores")
    [ax] = drawn_axes(found.plot(score="copying"))
    np.testing.assert_allclose(mesh_of(ax), np.asarray(found.copying, np.float64).mean(axis=-1), rtol=1e-9)


def test_a_study_has_its_medians_and_quartiles() -> None:
    found = made("Study")
    [ax] = drawn_axes(found.plot(variable="attribution.mlp"))
    [line] = lines_of(ax).values()
    rows = found.rows["attribution.mlp"]  # of three prompts the median is one of them
    np.testing.assert_allclose(line, np.median(rows, axis=0), rtol=0.02)
    [ax] = drawn_axes(found.plot(variable="attribution.heads"))
    np.testing.assert_allclose(mesh_of(ax), found.rows["attribution.heads"].mean(axis=0), rtol=1e-6)


def test_a_batch_is_drawn_by_its_first_prompt_and_says_so() -> None:
    found = attribution()
    default, second = found.plot(), found.plot(prompt=1)
    assert "Prompt index 0 of 2 (from 0; prompt= chooses another), 5 tokens" in caption_of(default)
    assert "Prompt index 1 of 2 (from 0), 3 tokens" in caption_of(second)
    picture = landed.attribution.token_contributions(trace(), ASKED)
    ax = drawn_axes(picture.plot(prompt=1))[0]
    assert mesh_of(ax).shape == (3, 3)  # no padding
    np.testing.assert_array_equal(np.isnan(mesh_of(ax)), np.triu(np.ones((3, 3)), 1).astype(bool))
    np.testing.assert_allclose(
        np.tril(np.nan_to_num(mesh_of(ax))), np.asarray(picture.overall, np.float64)[1, 2:, 2:], atol=1e-6
    )
    with pytest.raises(LandedError, match="There is no prompt 2: the batch holds 2"):
        found.plot(prompt=2)
    with pytest.raises(LandedError, match="Position 0 of prompt 1 is padding"):
        found.plot(prompt=1, position=0)


def test_texts_of_tokens_are_no_formulas() -> None:
    ids = jnp.array([[0, 1, 2, 7, 12]])
    found = landed.attribution.token_contributions(trace_of(small(), Tokens.from_lists(ids.tolist())), 3)
    figure = found.plot()
    figure.savefig(io.BytesIO(), format="svg")
    names = names_of(drawn_axes(figure)[0], "x")
    assert names[:3] == ["0 '$x$'", "1 ' $'", r"2 '\\frac{1}{2}'"]
    assert names[4].startswith(r"4 '\U000f0000")  # no font has it
    assert r"'$x$ $\\frac{1}{2}" in caption_of(figure)


def test_one_token() -> None:
    one = trace_of(small(), Tokens.from_lists([[4]]))
    for found in (
        landed.attribute(one, ASKED),
        landed.attribution.token_contributions(one, ASKED),
        landed.attribution.group_effect(one, ASKED, group=landed.attribution.layer_group(SMALL, 1)),
        landed.amplification(one),
    ):
        figure = found.plot()
        figure.savefig(io.BytesIO(), format="png", dpi=40)
        assert "1 token:" in caption_of(figure)


def test_numbers_of_16_bits() -> None:
    def half(leaf: Any) -> Any:
        return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    found = jax.tree.map(half, attribution())
    figure = found.plot(show="heads")
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert "bfloat16" in caption_of(figure)
    expected = np.asarray(found.landed.heads[:, 0, -1].astype(jnp.float32), np.float64)
    np.testing.assert_array_equal(mesh_of(drawn_axes(figure)[0]), expected)
    assert "<svg" in (found._repr_html_() or "")


def test_a_model_of_32_layers() -> None:
    deep = trace_of(model_of(dataclasses.replace(SMALL, n_layers=32)), Tokens.from_lists([[1, 2, 3]]))
    found = landed.attribute(deep, ASKED)
    for show in ("heads", "layers", "writes"):
        figure = found.plot(show=show)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
        width, height = figure.get_size_inches()
        assert width < 11 and height < 10
    assert len(lines_of(drawn_axes(landed.amplification(deep).plot())[0])["median over coordinates"]) == 65


@pytest.mark.parametrize(("kind", "starts"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files(kind: str, starts: bytes) -> None:
    for show in ("writes", "layers", "heads"):
        file = io.BytesIO()
        attribution().plot(show=show).savefig(file, format=kind)
        assert file.getvalue().startswith(starts)


def test_axes_and_figures_of_ones_own() -> None:
    figure = Figure(layout="constrained")
    left, right = figure.subfigures(1, 2)
    ax = left.subplots()
    assert attribution().plot(ax=ax, show="heads") is left
    assert plot(landed.coordinates(trace(), ASKED), figure=right) is right and len(right.axes) == 2
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    with pytest.raises(LandedError, match="ax= takes one panel, and this figure has 2"):
        landed.coordinates(trace(), ASKED).plot(ax=ax)
    with pytest.raises(LandedError, match="not into both"):
        attribution().plot(ax=ax, figure=figure)


def test_what_cannot_be_drawn_is_a_sentence() -> None:
    for options, says in (
        ({"colour": 1}, "colour= is no option of the figure of Attribution, which has the options prompt, position"),
        ({"show": "all"}, "show='all' is none of writes, layers, heads"),
        ({"prompt": 1.5}, "prompt=1.5 is no whole number"),
    ):
        with pytest.raises(LandedError, match=says):
            attribution().plot(**options)
    with pytest.raises(LandedError, match="A dict has no figure"):
        plot({})
    with pytest.raises(LandedError, match="variable='nothing' is none of this study's: "):
        made("Study").plot(variable="nothing")
    jax.eval_shape(lambda found: [found.value, checked_inside(found)][0], attribution())


def checked_inside(found: Any) -> int:
    with pytest.raises(LandedError, match=r"jit or vmap|outside of jit"):
        drawing_of(found)
    assert found._repr_html_() is None
    return 0


def test_without_matplotlib_one_sentence_and_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name == "matplotlib" else find(name, *of)
    )
    with pytest.raises(LandedError, match=r"pip install 'landed-jax\[plots\]'"):
        attribution().plot()
    shown = attribution()._repr_html_() or ""
    assert "<table>" in shown and "<svg" not in shown


@pytest.mark.parametrize("name", ["attribute", "NameMovers", "Faithfulness"])
def test_a_notebook_shows_a_figure_and_a_table(name: str) -> None:
    found = made(name)
    shown, again = found._repr_html_(), found._repr_html_()
    page = ET.fromstring(shown.replace("&nbsp;", " "))
    assert page.find(".//{http://www.w3.org/2000/svg}svg") is not None and page.find(".//table") is not None
    assert len(shown) < 150_000 and shown.count("<tr>") <= 20
    # Two figures on one page do not share names.
    ids = [{part.get("id") for part in ET.fromstring(one).iter() if part.get("id")} for one in (shown, again)]
    assert ids[0] and not ids[0] & ids[1]


def test_a_notebook_shows_what_plot_returns() -> None:
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(attribution().plot())
    assert shown["image/png"].startswith(b"\x89PNG")


def test_traces_and_parameters_as_trees() -> None:
    pytest.importorskip("treescope")  # which Flax needs, so it is there unless a later one does without
    shown, model = trace()._repr_html_() or "", small()._repr_html_() or ""
    assert "treescope" in shown and "treescope" in model


def test_matplotlib_is_imported_for_figures_alone() -> None:
    code = (
        "import sys, landed_jax as landed, landed_jax.plots as plots\n"
        "from tests.plots.cases import curve\n"
        "plots.drawing_of(curve(1.0))\n"
        "assert 'matplotlib' not in sys.modules\n"
        "curve(1.0).plot()\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
