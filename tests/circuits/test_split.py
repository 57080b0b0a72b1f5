"""Split runs against ordinary ones: with interventions, one run after another, and the NumPy reference's writes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.circuits import Graph, circuit_values, edge_attribution, path_patch, path_sweep
from landed_jax.errors import LandedError
from landed_jax.interventions import intervene, patch
from landed_jax.nn.hook_points import HookPoint
from tests.circuits.cases import MEASURE, model_of, pairs_for, patched_only, reference_writes, run, value_of
from tests.compiling import compilations
from tests.models import CONFIGS, HELD, NAMES

EVERYTHING = landed.WRITES | {HookPoint.QUERY, HookPoint.KEY, HookPoint.VALUE, HookPoint.MLP_WRITE}


@pytest.mark.quick
@pytest.mark.parametrize(("name", "hold"), HELD)
def test_no_edge_cut_is_the_clean_run_and_every_edge_the_corrupted_one(name: str, hold: Any, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name], hold), pairs_for(CONFIGS[name])
    edges = len(Graph.of(model.config))
    found = circuit_values(model, pairs, jnp.stack([jnp.ones(edges), jnp.zeros(edges)]), measure=MEASURE)
    expected = [value_of(model, tokens) for tokens in (pairs.clean, pairs.corrupted)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_through_every_read_is_the_total_effect_of_replacing_the_write(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    config, last = model.config, model.config.n_layers - 1
    change = reference_writes(model, pairs.corrupted) - reference_writes(model, pairs.clean)
    found = path_sweep(model, pairs.clean, pairs.corrupted, reads=Graph.of(config).reads, measure=MEASURE)
    assert found.paths == Graph.of(config).senders
    for sender, site, layer in [
        ("input", "attn_residual", 0),
        (f"a{last}.h1", "attn_write", last),
        ("m0", "mlp_write", 0),
    ]:
        place = found.paths.index(sender)
        whole = value_of(model, pairs.clean, intervene(site, "add", change[place], layers=layer))
        np.testing.assert_allclose(found.value[place], whole, rtol=0, atol=1e-12, err_msg=sender)
    if not config.output_norms:  # behind one, the rest of the block's write would follow σ′
        corrupted = run(model, pairs.corrupted)
        whole = value_of(model, pairs.clean, patch(corrupted, "head", layers=0, heads=1))
        np.testing.assert_allclose(found.value[found.paths.index("a0.h1")], whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_one_edge_is_as_ordinary_runs_make_it(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    graph, last = Graph.of(model.config), model.config.n_layers - 1
    change = reference_writes(model, pairs.corrupted) - reference_writes(model, pairs.clean)
    edges = [("input", f"a{last}.h1<{part}>") for part in "qkv"] + [("m0", "logits"), ("a0.h0", f"m{last}")]
    edges += [("input", "m0"), *([("a0.h1", "a1.h0<k>"), ("m0", "a1.h0<v>")] if last else [])]
    edges = [edge for edge in edges if f"{edge[0]}->{edge[1]}" in graph.edges]
    masks = np.concatenate([patched_only(graph, *edge) for edge in edges])
    found = circuit_values(model, pairs, masks, measure=MEASURE)
    for value, (sender, read) in zip(found, edges, strict=True):
        heard = heard_alone(model, pairs.clean, (), change[graph.senders.index(sender)], read)
        np.testing.assert_allclose(value, value_of(model, pairs.clean, heard), rtol=0, atol=1e-12, err_msg=read)


def heard_alone(model: landed.Model, tokens: Any, before: Any, change: np.ndarray, read: str) -> list[Any]:
    """`before`, and the interventions by which one read hears a change: a head's by what it then puts out."""
    if read == "logits":
        return [*before, intervene("final_norm_input", "add", change)]
    if read.startswith("m"):
        return [*before, intervene("mlp_norm_input", "add", change, layers=int(read[1:]))]
    layer, head = (int(number) for number in read.split("<")[0].removeprefix("a").split(".h"))
    point = {"q": HookPoint.QUERY, "k": HookPoint.KEY, "v": HookPoint.VALUE}[read[-2]]
    shifted = run(model, tokens, [*before, intervene("attn_norm_input", "add", change, layers=layer)], EVERYTHING)
    alone = run(model, tokens, [*before, patch(shifted, point, layers=layer)], EVERYTHING)
    return [*before, patch(alone, "head", layers=layer, heads=head)]


@pytest.mark.parametrize("name", ["small", pytest.param("parallel", marks=pytest.mark.slow)])
def test_an_edge_behind_another_carries_the_change_from_what_its_node_writes_by_then(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    graph, corrupted = Graph.of(model.config), reference_writes(model, pairs.corrupted)
    path, done = [("input", "a0.h1<v>"), ("a0.h1", "a1.h0<q>"), ("a1.h0", "logits")], []
    for sender, read in path:
        own = written(model, pairs.clean, done, sender)
        done = heard_alone(model, pairs.clean, done, corrupted[graph.senders.index(sender)] - own, read)
    mask = np.all([patched_only(graph, *edge)[0] for edge in path], axis=0)
    found = circuit_values(model, pairs, mask[None], measure=MEASURE)[0]
    np.testing.assert_allclose(found, value_of(model, pairs.clean, done), rtol=0, atol=1e-12)


def written(model: landed.Model, tokens: Any, interventions: Any, sender: str) -> np.ndarray:
    """What a node writes in an ordinary run of a model without output norms."""
    trace = run(model, tokens, interventions, EVERYTHING)
    if sender == "input":
        return np.asarray(trace[HookPoint.EMBEDDING])
    layer, head = (int(number) for number in sender.removeprefix("a").split(".h"))
    W_O = np.asarray(model.params["layers"][str(layer)]["attn"]["W_O"])[:, head]
    return np.asarray(trace[HookPoint.HEAD])[layer, :, :, head] @ W_O.T


@pytest.mark.parametrize("name", NAMES)
def test_to_the_logits_alone_is_the_direct_effect_of_resampling(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    own, other = (reference_writes(model, tokens)[:, :, -1] for tokens in (pairs.clean, pairs.corrupted))
    trace = run(model, pairs.clean)
    stream = np.asarray(trace[HookPoint.FINAL_RESIDUAL])[:, -1]
    found = path_sweep(model, pairs.clean, pairs.corrupted, reads="logits", measure=MEASURE)
    np.testing.assert_allclose(found.value, by_hand(model, stream + other - own), rtol=0, atol=1e-12)
    frozen = path_sweep(model, pairs.clean, pairs.corrupted, reads="logits", measure=MEASURE, freeze_sigma=True)
    sigma = np.asarray(trace[HookPoint.FINAL_SIGMA])[:, -1]
    np.testing.assert_allclose(frozen.value, by_hand(model, stream + other - own, sigma), rtol=0, atol=1e-12)


def by_hand(model: landed.Model, x: np.ndarray, sigma: np.ndarray | None = None) -> np.ndarray:
    """The final norm and the difference of the two tokens' uncapped logits."""
    config, params = model.config, model.params
    x = x - x.mean(-1, keepdims=True) if config.norm == "layer" else x
    divisor = np.sqrt((x**2).mean(-1) + config.norm_eps) if sigma is None else sigma
    normed = x / divisor[..., None] * (config.gain_offset + np.asarray(params["final_norm"]["gamma"]))
    normed = normed + np.asarray(params["final_norm"].get("beta", 0))
    W_U = np.asarray(params["unembed"]["W_U"] if "unembed" in params else params["embed"]["W_E"])
    return config.logit_scale * normed @ (W_U[1] - W_U[0])


@pytest.mark.parametrize("name", ["small", pytest.param("both_norms", marks=pytest.mark.slow)])
def test_with_sigma_held_all_edges_into_the_logits_add_up(name: str, x64: None) -> None:
    model, pairs = model_of(CONFIGS[name]), pairs_for(CONFIGS[name])
    graph, how = Graph.of(model.config), {"measure": MEASURE, "freeze_sigma": True}
    each = path_sweep(model, pairs.clean, pairs.corrupted, reads="logits", **how)
    together = path_patch(model, pairs.clean, pairs.corrupted, graph.senders, "logits", **how)
    np.testing.assert_allclose(each.effect.sum(0), together.effect[0], rtol=0, atol=1e-12)


def test_other_circuits_are_no_other_program() -> None:
    model, pairs = model_of(CONFIGS["small"], dtype=np.float32), pairs_for(CONFIGS["small"])
    masks = np.random.default_rng(0).random((3, len(Graph.of(model.config)))) < 0.5
    before = circuit_values(model, pairs, masks)
    with compilations() as compiled:
        after = circuit_values(model, pairs, ~masks)
    assert not compiled and not np.array_equal(before, after)


def test_under_jit_vmap_and_grad(x64: None) -> None:
    model, pairs = model_of(CONFIGS["small"]), pairs_for(CONFIGS["small"])
    masks = jnp.asarray(np.random.default_rng(0).random((2, len(Graph.of(model.config)))))
    expected = circuit_values(model, pairs, masks)
    np.testing.assert_allclose(jax.jit(lambda m: circuit_values(model, pairs, m))(masks), expected, atol=1e-13)
    each = jax.vmap(lambda mask: circuit_values(model, pairs, mask[None])[0])(masks)
    np.testing.assert_allclose(each, expected, atol=1e-13)
    slope = jax.grad(lambda t: jnp.sum(circuit_values(model, pairs, masks + t)))(0.0)
    more, less = (jnp.sum(circuit_values(model, pairs, masks + t)) for t in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (more - less) / 2e-6, rtol=1e-6)


def test_a_prompt_alone_is_as_in_a_batch_with_padding_and_in_parts(x64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = model_of(CONFIGS["small"]), pairs_for(CONFIGS["small"], (5, 3, 4))
    masks = np.random.default_rng(0).random((3, len(Graph.of(model.config)))) < 0.5
    whole = circuit_values(model, pairs, masks)
    monkeypatch.setattr("landed_jax.circuits._others.WRITES_BYTES", 2 * 8 * 11 * 5 * 12)
    monkeypatch.setattr("landed_jax.circuits._circuit.WRITES_BYTES", 2 * 2 * 8 * 11 * 5 * 12)
    np.testing.assert_allclose(circuit_values(model, pairs, masks), whole, atol=1e-13)
    short = jax.tree.map(lambda leaf: leaf[1:2], pairs)
    alone = jax.tree.map(lambda leaf: leaf[:, 2:] if leaf.shape[1] == 5 else leaf, short)
    np.testing.assert_allclose(circuit_values(model, alone, masks)[:, 0], whole[:, 1], atol=1e-13)


def test_bfloat16_weights() -> None:
    model, pairs = model_of(CONFIGS["small"], dtype=jnp.bfloat16), pairs_for(CONFIGS["small"])
    found = circuit_values(model, pairs, jnp.ones((1, len(Graph.of(model.config)))), measure=MEASURE)[0]
    np.testing.assert_allclose(found, value_of(model, pairs.clean), atol=1e-5)


def test_what_is_refused() -> None:
    model, pairs = model_of(CONFIGS["small"], dtype=np.float32), pairs_for(CONFIGS["small"])
    edges = len(Graph.of(model.config))
    ones, both = np.ones((1, edges), bool), (pairs.clean, pairs.corrupted)
    with pytest.raises(LandedError, match=f"circuit, {edges} edges"):
        circuit_values(model, pairs, ones[0])
    with pytest.raises(LandedError, match="resample, mean, zero"):
        circuit_values(model, pairs, ones, "median")  # pyright: ignore[reportArgumentType] # what is refused
    with pytest.raises(LandedError, match="data= is for"):
        circuit_values(model, pairs, ones, data=pairs.clean)
    with pytest.raises(LandedError, match="at least two tokens"):
        circuit_values(model, pairs, ones, "mean", data=landed.Tokens.from_lists([[1]]))
    with pytest.raises(LandedError, match="as many tokens each, not 2 × 5 and 1 × 1"):
        path_patch(model, pairs.clean, landed.Tokens.from_lists([[1]]), "input", "logits")
    ragged = landed.Tokens(pairs.corrupted.ids, pairs.corrupted.mask.at[0, 0].set(False))
    for refused in (circuit_values, edge_attribution):
        with pytest.raises(LandedError, match="Clean prompt 0 has 5 tokens and its corrupted one 4"):
            refused(model, dataclasses.replace(pairs, corrupted=ragged), *([ones] if refused is circuit_values else []))
    with pytest.raises(LandedError, match=r"'a9\.h0' is no node"):
        path_patch(model, *both, "a9.h0", "logits")
    with pytest.raises(LandedError, match=r"'a0\.h0<z>' is no read"):
        path_patch(model, *both, "input", "a0.h0<z>")
    with pytest.raises(LandedError, match="senders= or reads="):
        path_sweep(model, *both)
    with pytest.raises(LandedError, match="come before them"):
        path_patch(model, *both, "m1", "a0.h0<q>")


def test_a_batch_of_prompts_in_another_order_is_refused() -> None:
    """The batches have one shape, and their prompts are not of one length."""
    long, short = "The Colosseum is in the city of", "The Louvre is in"
    to_logits: dict[str, Any] = {"reads": "logits"}
    for patched, how in ((path_patch, {"senders": "a2.h7", "measure": " Rome", **to_logits}), (path_sweep, to_logits)):
        with pytest.raises(LandedError, match=r"Clean prompt 0 has \d+ tokens and its corrupted one \d+: give prompts"):
            patched(landed.load(), [long, short], [short, long], **how)
