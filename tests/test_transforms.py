"""Every public function inside somebody else's ``jit``, ``vmap``, ``grad`` and ``shard_map``."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import landed_jax as landed
from landed_jax import NORMED, SOURCES, WRITES, Trace, Write
from landed_jax.nn.parameters import stack_layers
from tests.models import SMALL, n_sites, random_params

PROMPTS = np.array([[1, 5, 2], [3, 3, 8], [0, 12, 7], [9, 1, 1]])
HEAD, NEURON = Write("head", 1, 3), Write("neuron", 0, 4, position=1)

FUNCTIONS: dict[str, Callable[[Trace], jax.Array]] = {
    "forward": lambda trace: trace[landed.HookPoint.FINAL_NORMED],
    "attribute": lambda trace: landed.attribute(trace, 4, against=2, effects=False).landed.neurons.sum(0),
    "direct_effect": lambda trace: landed.attribute(trace, landed.Logit(4, centred=True)).direct_effect.heads.sum(0),
    "output_norms": lambda trace: landed.attribute(
        trace, 4, norms=landed.writes.output_norms(trace.weights(), trace[landed.HookPoint.EMBEDDING].dtype)
    ).direct_effect.neurons.sum(0),
    "sigma_share": lambda trace: landed.attribute(trace, 4).sigma_share.neurons.sum(0),
    "attribute_by_source": lambda trace: landed.attribute_by_source(trace, 4).landed.sum(0),
    "land": lambda trace: landed.land(trace, [HEAD, NEURON], site="next")[None],
    "write_vector": lambda trace: landed.writes.write_vector(trace, HEAD)[None],
    "amplification": lambda trace: jnp.moveaxis(landed.amplification(trace).median, 0, -1),
    "coordinates": lambda trace: landed.coordinates(trace, 4).contributions,
    "select": lambda trace: trace.select(1)[landed.HookPoint.FINAL_NORMED],
}


def traced(params: dict, ids: jax.Array) -> Trace:
    _, trace = landed.forward(params, ids, SMALL, record=WRITES | SOURCES | NORMED | landed.RESIDUALS)
    return trace.bind(params)


def slopes(params: dict, ids: jax.Array, weights: dict[str, jax.Array], step: dict) -> dict[str, jax.Array]:
    """The slope of each function's weighted sum along a step; one program for all, as compiling is the cost."""
    found, backward = jax.vjp(lambda p: {name: made(traced(p, ids)) for name, made in FUNCTIONS.items()}, params)
    each = {
        name: jnp.stack([weights[name] if other == name else jnp.zeros_like(leaf) for other in FUNCTIONS])
        for name, leaf in found.items()
    }
    (gradients,) = jax.vmap(backward)(each)
    along = jax.tree.map(lambda g, s: jnp.sum(g * s[None], axis=range(1, g.ndim)), gradients, step)
    return dict(zip(FUNCTIONS, sum(jax.tree.leaves(along)), strict=True))


def test_grad_matches_finite_differences(x64: None) -> None:
    params, ids = random_params(SMALL, dtype=jnp.float64), jnp.asarray(PROMPTS[:1])
    random = np.random.default_rng(0)
    step = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape)), params)
    values = jax.jit(lambda p: {name: made(traced(p, ids)) for name, made in FUNCTIONS.items()})
    weights = {name: jnp.asarray(random.standard_normal(leaf.shape)) for name, leaf in values(params).items()}
    ahead, behind = (values(jax.tree.map(lambda v, s, h=h: v + h * s, params, step)) for h in (1e-6, -1e-6))
    for name, slope in jax.jit(slopes)(params, ids, weights, step).items():
        assert abs(slope) > 1e-6, name
        expected = float(jnp.sum(weights[name] * (ahead[name] - behind[name])) / 2e-6)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("hold", [lambda params: params, stack_layers], ids=["subtrees", "stacked"])
def test_closure_error_under_jit_vmap_and_shard_map(hold: Callable[[dict], dict]) -> None:
    params, ids = hold(random_params(SMALL)), jnp.asarray(PROMPTS)

    def error(params: dict, ids: jax.Array) -> jax.Array:
        _, trace = landed.forward(params, ids, SMALL, record=WRITES | NORMED)
        return landed.closure_error(trace.bind(params)).error

    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    cut = PartitionSpec(None, "data")
    sharded = jax.shard_map(error, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=cut)
    for found in (jax.jit(error)(params, ids), jax.jit(sharded)(params, ids)):
        assert found.shape == (n_sites(SMALL), 4, 3)
        assert 0 < float(found.max()) < 1e-6
    each = jax.jit(jax.vmap(lambda row: error(params, row[None])))(ids)
    assert each.shape == (4, n_sites(SMALL), 1, 3)
    assert float(each.max()) < 1e-6


def analyses(params: dict, ids: jax.Array) -> dict[str, jax.Array]:
    """A number of every analysis, ``[batch, …]``: one program for all of them, as compiling is the cost."""
    whole = traced(params, ids)
    # What the norms put out is in the trace, or follows from its residuals, as here.
    bare = {name: value for name, value in whole.sown.items() if name not in NORMED - WRITES}
    trace = dataclasses.replace(whole, sown=bare)
    probe = jnp.linspace(-1, 1, SMALL.d_model)
    of_head = landed.resolve(trace, landed.Head(1, 2, "key", probe[:4]))
    of_vector = landed.resolve(trace, landed.Vector(probe, site="1.mlp"))
    matrix = landed.landing.landing_matrix(trace, probe)
    lens = landed.logit_lens(trace, 4)
    work = landed.attribution.operations(trace, landed.Logit(4, against=2))
    growth = landed.scale.residual_growth(trace)
    classes = landed.scale.position_classes(trace, delimiters=(3,)).members
    return {
        **{name: made(whole) for name, made in FUNCTIONS.items()},
        "read_neuron": landed.attribute(trace, landed.Neuron(1, 5, "up")).direct_effect.heads[0],
        "read_head": landed.attribute(trace, of_head, effects=False).landed.embedding,
        "read_vector": landed.attribute(trace, of_vector, effects=False).landed.neurons[0],
        "landing_matrix": matrix.norm.neurons[-1, 0] + matrix.projection.neurons[-1, 0],
        "logit_lens": lens.own_sigma[1] + lens.final_sigma_contributions[2],
        "lens_top_tokens": landed.attribution.lens_top_tokens(trace, 3).own_sigma[2],
        "operations": work.mlp_gross[0] + work.attn_net[1],
        "residual_growth": growth.rms[1] + growth.along[0],
        "group_effect": landed.attribution.group_effect(
            trace, 4, group=landed.attribution.layer_group(SMALL, 0)
        ).effect,
        "faithfulness": landed.attribution.faithfulness(trace, landed.Logit(4, against=2)).together.error,
        "attribute_log_probability": landed.attribution.attribute_log_probability(trace, 4).direct_effect.heads[1],
        "volume": landed.attribution.volume(trace, 4).mediated.neurons[0],
        "sigma_shares": landed.attribution.sigma_shares(trace, site="1.attn").shares.heads[0],
        "check_coordinates": landed.basis.check_coordinates(trace, 4, count=5).kept.value,
        "rotated_counts": landed.basis.rotated_counts(trace, 4, key=jax.random.key(0), rotations=2).closure_error[0],
        "outliers": landed.basis.outliers(trace, 4, multiple=2.0).contribution,
        "token_contributions": landed.attribution.token_contributions(trace, 4).overall,
        "position_classes": jnp.moveaxis(classes, 0, -1).astype(jnp.float32),
        "write_amplification": landed.scale.write_amplification(trace, "norm_ratio").by_write.neurons[0],
        "amplification_statistics": jnp.broadcast_to(
            # A statistic is over all prompts it is given: here over each prompt's own.
            landed.scale.amplification_statistics(trace, delimiters=(3,)).norm_ratio.maximum[None],
            (len(ids), 5, 3),
        ),
    }


def test_every_analysis_under_jit_vmap_and_shard_map() -> None:
    params, ids = random_params(SMALL), jnp.asarray(PROMPTS)
    one = jax.jit(analyses)
    # `land` and `write_vector` name a prompt of the batch, so there each prompt is a batch of its own.
    plain = [one(params, ids[row : row + 1]) for row in range(4)]
    mapped = jax.jit(jax.vmap(lambda row: analyses(params, row[None])))(ids)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    cut, whole = PartitionSpec("data"), PartitionSpec()
    sharded = jax.jit(jax.shard_map(analyses, mesh=mesh, in_specs=(whole, cut), out_specs=cut))(params, ids)
    for name in plain[0]:
        expected = np.concatenate([each[name] for each in plain])
        for found in (mapped[name][:, 0], sharded[name]):
            bar = 2e-5 if name in FUNCTIONS else 5e-5
            np.testing.assert_allclose(found, expected, atol=bar, rtol=1e-4, err_msg=name)
    alone = jax.jit(traced)(params, ids[:1])
    for name, made in FUNCTIONS.items():  # and the functions without any transform
        np.testing.assert_allclose(made(alone), plain[0][name], atol=2e-5, rtol=1e-4, err_msg=name)
