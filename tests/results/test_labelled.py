"""Results with named axes: the right names, the arrays' own values, and files that give back what was put in."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jaxtyping import Array, Float

import landed_jax as landed
from landed_jax import NORMED, RESIDUALS, SOURCES, WRITES, LandedError, ModelConfig, Tokens, Trace, Write
from landed_jax.nn.per_write import PerWrite
from landed_jax.nn.stream_order import site_names
from landed_jax.printable import printable
from landed_jax.results.dataset import to_xarray
from landed_jax.results.files import load_result, save_result
from landed_jax.results.table import to_table
from landed_jax.vocabulary import Vocabulary
from tests.models import SMALL, n_sites, random_params, random_tokens

TEXTS = ["<s>", "▁Rome", " 😀", "\n", 'a "b"', "", "\0", "日本", "é", "'", ",", "\t", "�"]


class Texts(Vocabulary):
    """Every token's text is given."""

    def __init__(self) -> None:
        super().__init__(None)

    def text(self, token: int) -> str:
        return TEXTS[token]


run = jax.jit(landed.forward, static_argnames=("config", "record"))


@functools.cache
def traced() -> Trace:
    """Two prompts, of 5 and 3 tokens, recorded at columns 1 (padding in the second) and 4."""
    params, tokens = random_params(SMALL), random_tokens(SMALL)
    _, trace = run(params, tokens, SMALL, record=WRITES | RESIDUALS | SOURCES | NORMED, at=jnp.array([1, 4]))
    return trace.bind(params, Texts())


BP, LBP, SBP = ("batch", "position"), ("layer", "batch", "position"), ("site", "batch", "position")
# What to make, and the axes that some of its variables must have.
MADE: dict[str, tuple[Callable[[Trace], Any], dict[str, tuple[str, ...]]]] = {
    "Attribution": (
        lambda trace: landed.attribute(trace, 3, against=5),
        {
            "landed.embedding": BP,
            "landed.heads": (*LBP, "head"),
            "direct_effect.neurons": (*LBP, "neuron"),
            "sigma_share.attn_bias": LBP,
            "closure_error": BP,
            "offset": (),
            "target": BP,
            "attended": (*LBP, "head"),
            "scale.gamma": ("site", "d_model"),
            "scale.median": SBP,
        },
    ),
    "Amplification": (landed.amplification, {"sigma": SBP, "gamma": ("site", "d_model")}),
    "AmplificationStatistics": (
        lambda trace: landed.scale.amplification_statistics(trace, delimiters=[3]),
        {
            "norm_ratio.quantiles": ("site", "class", "quantile"),
            "per_coordinate.count": ("site", "class"),
        },
    ),
    "AmplificationStatistics.of": (
        lambda trace: landed.scale.amplification_statistics(trace, delimiters=[3]).of("heads"),
        {"norm_ratio.minimum": ("layer", "class")},
    ),
    "Spread": (
        lambda trace: landed.scale.amplification_by_coordinate(trace, delimiters=[3]),
        {"quantiles": ("site", "class", "d_model", "quantile")},
    ),
    "Coordinates": (
        lambda trace: landed.coordinates(trace, 3),
        {"contributions": (*BP, "d_model"), "value": BP, "closure_error": BP},
    ),
    "CoordinateCheck": (
        lambda trace: landed.basis.check_coordinates(trace, 3, fraction=0.5),
        {"whole.rank": BP, "chosen": (*BP, "d_model"), "kept.value": BP},
    ),
    "FrozenSigmaAgreement": (
        lambda trace: landed.attribution.frozen_sigma_agreement(trace, landed.Logit(3, against=5)),
        {"heads.count": BP, "real": BP},
    ),
    "FrozenSigmaAgreement.pooled": (
        lambda trace: landed.attribution.frozen_sigma_agreement(trace, landed.Logit(3, against=5)).pooled(),
        {"heads.count": (), "real": BP},
    ),
    "GroupEffect": (
        lambda trace: landed.attribution.group_effect(
            trace, landed.Logit(3, against=5), group=landed.attribution.layer_group(SMALL, 1)
        ),
        {"effect": BP, "closure_error": BP},
    ),
    "LayerEffects": (lambda trace: landed.attribution.layer_effects(trace, 3), {"mlp_effect": LBP, "value": BP}),
    "ResidualGrowth": (landed.scale.residual_growth, {"rms": SBP, "along": ("write", "batch", "position")}),
    "LandingMatrix": (
        lambda trace: landed.landing.landing_matrix(trace, jnp.ones(SMALL.d_model)),
        {"norm.heads": ("site", *LBP, "head"), "projection.embedding": SBP, "closure_error": SBP},
    ),
    "Landings": (
        lambda trace: landed.landing.landing_matrix(trace).of(Write("head", 1, 2, position=4)),
        {"norm": ("site",)},
    ),
    "LogitLens": (
        lambda trace: landed.logit_lens(trace, landed.Logit(3, against=5)),
        {"own_sigma": SBP, "own_sigma_contributions": ("site", "group", "batch", "position")},
    ),
    "LensTokens": (lambda trace: landed.attribution.lens_top_tokens(trace, 2), {"ids": (*SBP, "rank")}),
    "LogProbability": (
        lambda trace: landed.attribution.attribute_log_probability(trace, 3),
        {"direct_effect.heads": (*LBP, "head"), "closure_error": BP, "real": BP},
    ),
    "Operations": (
        lambda trace: landed.attribution.operations(trace, landed.Logit(3, against=5)),
        {"attn_net": LBP, "fewest": ("fraction", *BP), "writes": BP},
    ),
    "Outliers": (
        lambda trace: landed.basis.outliers(trace, 3, multiple=1.5),
        {"outlying": (*BP, "d_model"), "without.closure_error": BP},
    ),
    "RotatedCounts": (
        lambda trace: landed.basis.rotated_counts(trace, 3, key=jax.random.key(0), rotations=2),
        {"first": ("rotation", "fraction", *BP), "closure_error": ("rotation", *BP)},
    ),
    "TokenContributions": (
        lambda trace: landed.attribution.token_contributions(trace, landed.Logit(3, against=5)),
        {"layers": (*LBP, "source"), "overall_closure_error": BP},
    ),
    "WeakDirections": (
        landed.attribution.weak_directions,
        {"singular_values": ("direction",), "directions": ("direction", "d_model")},
    ),
    "Volume": (
        lambda trace: landed.attribution.volume(trace, landed.Logit(3, against=5)),
        {"score.neurons": (*LBP, "neuron"), "weak.neurons": ("layer", "neuron"), "weak.heads": (*LBP, "head")},
    ),
    "PerWrite": (
        lambda trace: landed.attribution.sigma_shares(trace, site="final").shares,
        {"embedding": BP, "neurons": (*LBP, "neuron")},
    ),
    "Read": (lambda trace: landed.resolve(trace, landed.Logit(3)), {"vector": ("d_model",), "value": BP, "offset": ()}),
}


@functools.cache
def made(name: str) -> Any:
    return MADE[name][0](traced())


@pytest.mark.parametrize("name", MADE)
def test_every_result_with_its_names_and_values(name: str, tmp_path: Path) -> None:
    result = made(name)
    found = to_xarray(result, traced())
    assert {variable: found[variable].dims for variable in MADE[name][1]} == MADE[name][1]
    for variable, values in found.data_vars.items():
        array = np.asarray(functools.reduce(getattr, str(variable).split("."), result))
        assert values.dtype == array.dtype
        np.testing.assert_array_equal(values.values.ravel(), array.ravel())
    assert found.attrs["result"] == type(result).__name__
    assert ModelConfig.from_dict(json.loads(found.attrs["config"])) == SMALL
    if "position" in found.sizes:
        assert found["position"].values.tolist() == [1, 4]
        assert found["mask"].values.tolist() == [[True, True], [False, True]]
        assert found["token_id"].values.tolist() == np.asarray(traced().tokens.ids)[:, [1, 4]].tolist()
    if found.sizes.get("site") == n_sites(SMALL):
        assert found["site"].values.tolist() == ["0.attn", "0.mlp", "1.attn", "1.mlp", "final"]
    save_result(found, tmp_path / "result.nc")
    same(load_result(tmp_path / "result.nc"), found)
    table = to_table(found)
    assert len(table) == sum(values.size for values in found.data_vars.values())


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    """Identical, types too, which `assert_identical` does not look at."""
    xr.testing.assert_identical(one, other)
    assert {name: value.dtype for name, value in one.variables.items()} == {
        name: value.dtype for name, value in other.variables.items()
    }
    assert {name: type(value) for name, value in one.attrs.items()} == {
        name: type(value) for name, value in other.attrs.items()
    }


def test_what_a_result_names_itself() -> None:
    assert to_xarray(made("Operations"))["fraction"].values.tolist() == [0.5, 0.9, 0.99]
    assert to_xarray(made("LogitLens"))["group"].values.tolist() == list(made("LogitLens").groups)
    assert to_xarray(made("ResidualGrowth"))["write"].values[0] == "0.attn_write"
    assert to_xarray(made("Landings"))["site"].values.tolist() == list(made("Landings").sites)
    statistics = to_xarray(made("AmplificationStatistics"))
    assert statistics["class"].values.tolist() == ["first", "delimiter", "other"]
    assert statistics["quantile"].values.tolist() == [5, 25, 50, 75, 95]
    assert statistics["site"].values.tolist() == list(site_names(SMALL))
    assert to_xarray(made("Attribution")).attrs["site"] == "final"


@pytest.mark.quick
def test_the_text_of_every_token() -> None:
    found, trace = to_xarray(made("Attribution")), traced()
    ids = np.asarray(trace.tokens.ids)
    wanted = [printable(TEXTS[i]) for i in ids[0]]
    assert found["source_token"].values[0].tolist() == wanted
    assert found["source_token"].values[1, :2].tolist() == ["", ""]  # padding
    assert found["token"].values[:, 1].tolist() == [printable(TEXTS[i]) for i in ids[:, 4]]
    assert "token" not in found.indexes


def test_derived_values_are_added_when_asked_for() -> None:
    plain, more = to_xarray(made("FrozenSigmaAgreement")), to_xarray(made("FrozenSigmaAgreement"), derived=True)
    assert set(more) - set(plain) == {
        f"{k}.{p}" for k in ("heads", "neurons", "together") for p in ("nmae", "correlation")
    }
    np.testing.assert_array_equal(more["heads.nmae"], made("FrozenSigmaAgreement").heads.nmae)
    shares = to_xarray(made("PerWrite"), derived=True)
    assert shares["mlp"].dims == LBP


def test_open_axes_take_the_given_names() -> None:
    spread = made("AmplificationStatistics.of").norm_ratio
    assert to_xarray(spread, axes=("layer", "class"))["quantiles"].dims == ("layer", "class", "quantile")
    with pytest.raises(LandedError, match="axes="):
        to_xarray(spread, axes=("layer",))
    shares = landed.attribution.sigma_shares(traced()).shares
    found = to_xarray(shares, traced(), axes=("site",))
    assert found["heads"].dims == ("site", *LBP, "head") and found["site"].values[-1] == "final"
    np.testing.assert_array_equal(found["heads"], shares.heads)
    stacked = to_xarray(jax.tree.map(lambda leaf: leaf[None], made("Attribution")), axes=("sample",))
    assert stacked["landed.embedding"].dims == ("sample", *BP) and "token" not in stacked.coords
    with pytest.raises(LandedError, match="derived"):
        to_xarray(jax.tree.map(lambda leaf: leaf[None], made("Attribution")), axes=("sample",), derived=True)


@dataclass(frozen=True)
class Unheard:
    """A result that the package has never seen."""

    landed: PerWrite
    pairs: Float[Array, "head head"]
    head: Float[Array, "batch"]
    half: Float[Array, "batch"]
    flag: bool
    fine: str = "σ"


def test_a_new_result_needs_nothing() -> None:
    half = jnp.array([1.5, 2.5], jnp.bfloat16)
    found = to_xarray(Unheard(made("PerWrite"), jnp.ones((4, 4)), jnp.ones(2), half, True))
    assert found["pairs"].dims == ("head", "head_2")
    assert found["head_"].dims == ("batch",)  # an axis has the name already
    assert found["half"].dtype == np.float32 and found["half"].values.tolist() == [1.5, 2.5]
    assert found.attrs == {"result": "Unheard", "flag": "true", "fine": "σ"}


def test_the_table_has_one_row_an_element() -> None:
    found = to_xarray(made("Attribution"))
    table = to_table(found, variables=["landed.heads", "closure_error"])
    assert list(table.columns[:5]) == ["variable", "layer", "batch", "position", "head"]
    heads = table[table["variable"] == "landed.heads"]
    assert table["value"].dtype == np.float32
    np.testing.assert_array_equal(heads["value"], found["landed.heads"].values.ravel())
    row = heads[(heads["layer"] == 1) & (heads["batch"] == 1) & (heads["position"] == 4) & (heads["head"] == 2)]
    assert row["value"].item() == found["landed.heads"].sel(layer=1, batch=1, position=4, head=2).item()
    assert row["token"].item() == found["token"].sel(batch=1, position=4).item()
    others = table[table["variable"] == "closure_error"]
    assert others["layer"].isna().all() and str(table["layer"].dtype) == "Int64"
    with pytest.raises(LandedError, match="no variable 'x'"):
        to_table(found, variables=["x"])
    assert to_table(made("Attribution"), variables=["offset"])["value"].tolist() == [0.0]


def odd() -> xr.Dataset:
    values = np.array([[np.nan, np.inf], [-0.0, 1e-45]])
    return xr.Dataset(
        {
            "single": (("a", "b"), values.astype(np.float32)),
            "double": (("a", "b"), values / 3),
            "whole": ("a", np.array([2**62 + 1, -1])),
            "small": ("a", np.array([255, 0], np.uint8)),
            "truth": ("a", np.array([True, False])),
            "scalar": ((), np.float32(1) / 3),
            "none": ("c", np.zeros(0, np.float32)),
        },
        {
            "a": ["▁Rome", " 😀\n"],
            "b": np.array([7, 3], np.int32),
            "text": (("b", "a"), np.array([["", "日本"], ['"', "\\é\t"]])),
            "kept": ("b", np.array([False, True])),
        },
        {"text": "σ ▁ 😀", "empty": "", "number": 3, "part": 0.1},
    )


@pytest.mark.quick
def test_files_lose_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "odd.nc", str(tmp_path / "odd.nc4")):
        save_result(odd(), path)
        save_result(odd(), path)  # over what is there
        found = load_result(path)
        same(found, odd())
        assert np.signbit(found["double"].values[1, 0])
        save_result(found, path)
        same(load_result(path), odd())
    assert sorted(os.listdir(tmp_path)) == ["odd.nc", "odd.nc4"]


def test_bad_paths(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("not a file of this kind")
    (tmp_path / "folder.nc").mkdir()
    odd().drop_vars("none").to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    save_result(odd(), tmp_path / "cut.nc")
    (tmp_path / "cut.nc").write_bytes((tmp_path / "cut.nc").read_bytes()[:-1000])
    for name, message in (
        ("nothing.nc", "no such file"),
        ("text.nc", "not what save_result wrote"),
        ("cut.nc", "not what save_result wrote"),
        ("folder.nc", "no such file"),
        ("other.nc", "not what save_result wrote"),
        ("other.csv", r"ends in \.nc or \.nc4"),
    ):
        with pytest.raises(LandedError, match=message):
            load_result(tmp_path / name)
    for name, message in (
        ("missing/x.nc", "does not exist"),
        ("folder.nc", "is a folder"),
        ("x", "ends in"),
        ("text.nc/x.nc", "does not exist"),
    ):
        with pytest.raises(LandedError, match=message):
            save_result(odd(), tmp_path / name)


@pytest.mark.parametrize(
    "dataset",
    [
        xr.Dataset({"x": ("a", np.array([1j]))}),
        xr.Dataset({"x": ("a", np.array([1.5], np.float16))}),
        xr.Dataset({"x": ("a", np.array([None]))}),
        xr.Dataset({"x": ("a", np.array(["a\0b"]))}),
        xr.Dataset({"x": ("a", np.array(["\ud800"]))}),
        xr.Dataset({"x/y": ("a", np.array([1]))}),
        xr.Dataset(attrs={"flag": True}),
        xr.Dataset(attrs={"many": [1]}),
        xr.Dataset(attrs={"number": 2**70}),
        xr.Dataset({"x": (("a", "b"), np.zeros((2, 2)))}, {"a": [0, 1], "b": [0, 1]}).stack(c=("a", "b")),
    ],
)
def test_what_a_file_would_change_is_refused(dataset: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(LandedError):
        save_result(dataset, tmp_path / "x.nc")
    assert not os.listdir(tmp_path)


def test_a_bare_array_takes_its_names_from_the_caller(tmp_path: Path) -> None:
    split = landed.attribute_by_source(traced(), 3).landed
    found = to_xarray(split, traced(), axes=("layer", "batch", "position", "head", "source"))
    np.testing.assert_array_equal(found["value"], split)
    assert found["position"].values.tolist() == [1, 4] and found["source_token"].shape == (2, 5)
    error = to_xarray(landed.closure_error(traced()).error, traced(), axes=("site", "batch", "position"))
    assert error["site"].values.tolist() == ["0.attn", "0.mlp", "1.attn", "1.mlp", "final"]
    save_result(found, tmp_path / "split.nc")
    assert load_result(tmp_path / "split.nc").identical(found)
    assert len(to_table(split, traced(), axes=("layer", "batch", "position", "head", "source"))) == split.size


def test_what_has_no_names_is_refused() -> None:
    for wrong in (traced(), 3, [1.0], PerWrite):
        with pytest.raises(LandedError, match="not the result of an analysis"):
            to_xarray(wrong)
    for axes in (None, ("site",)):
        with pytest.raises(LandedError, match="2 axes that have no names"):
            to_xarray(jnp.ones((5, 2)), traced(), axes=axes)
    stacked = jax.tree.map(lambda leaf: leaf[None], made("Coordinates"))
    with pytest.raises(LandedError, match="name in axes="):
        to_xarray(stacked)
    with pytest.raises(LandedError, match="Under jit"):
        jax.jit(lambda result: to_xarray(result) and 0)(made("Coordinates"))
    tokens = Tokens.from_lists([[1, 2, 3]] * 3)
    _, other = run(random_params(SMALL), tokens, SMALL, at=jnp.array([0, 1]))
    with pytest.raises(LandedError, match="another trace"):
        to_xarray(made("Coordinates"), other)
