"""Name movers: a planted one is found, numbers are those of one prompt at a time, and prompts without names refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError, Logit
from landed_jax.interventions import sweep, zero_head
from landed_jax.roles import name_movers, naming
from landed_jax.tasks import Pairs, answered, pairs_of
from landed_jax.testbed.planted import copying_head
from landed_jax.testbed.prompts import tasks
from landed_jax.tokens import Tokens


def test_a_planted_name_mover_is_found_and_its_negative_is_negative() -> None:
    planted = copying_head(layer=1, head=2, source=3)
    clean = list(planted.prompt)
    other = next(token for token in clean if token != planted.target)
    pairs = Pairs(
        Tokens.from_lists([clean]),
        Tokens.from_lists([clean]),
        jnp.array([[planted.target]], jnp.int32),
        jnp.array([[other]], jnp.int32),
    )
    found = name_movers(landed.Model(planted.config, planted.params), [pairs], top=1)
    row = found.movers(1)[0]
    assert (row.layer, row.head, row.copying) == (1, 2, 1.0) and row.to_right > 0.99
    np.testing.assert_allclose(row.moved_right, row.landed, rtol=1e-3)
    attn = planted.params["layers"]["1"]["attn"]
    minus = {**attn, "W_O": attn["W_O"].at[:, 2].multiply(-1)}
    params = {
        **planted.params,
        "layers": {**planted.params["layers"], "1": {**planted.params["layers"]["1"], "attn": minus}},
    }
    worst = name_movers(landed.Model(planted.config, params), [pairs], top=1).negative(1)[0]
    assert (worst.layer, worst.head, worst.suppression) == (1, 2, 1.0) and worst.direct < 0 < worst.to_right


@pytest.mark.quick
def test_numbers_are_those_of_each_prompt_alone() -> None:
    model = landed.load()
    kept = naming(answered(model, tasks()["indirect object"], 10))
    batches = pairs_of(kept, together=4)
    found = name_movers(model, batches)
    assert found.direct.shape[-1] == len(kept.prompts) == sum(map(len, batches))
    place = 0
    for pairs in batches:
        for row in range(len(pairs)):
            ids = np.asarray(pairs.clean.ids[row])[np.asarray(pairs.clean.mask[row])].tolist()
            right, wrong = int(pairs.right[row, 0]), int(pairs.wrong[row, 0])
            trace = model.trace([ids], record=landed.WRITES | landed.SOURCES)
            shares = landed.attribute(trace, Logit(right, against=wrong))
            np.testing.assert_allclose(found.direct[..., place], shares.direct_effect.heads[:, 0, -1], atol=2e-4)
            np.testing.assert_allclose(found.difference[place], shares.value[0, -1], atol=1e-3)
            pattern = np.asarray(trace[landed.HookPoint.PATTERN][:, 0, :, -1])
            held = np.array(ids) == right
            np.testing.assert_allclose(found.to_right[..., place], pattern[..., held].sum(-1), atol=1e-4)
            column = int(np.flatnonzero(held)[0])
            copied = landed.attribution.copying(trace).copied(5)[:, 0, column]
            np.testing.assert_array_equal(found.copied[..., place] == 1, copied)
            split = landed.attribute_by_source(trace, Logit(right, against=wrong)).landed[:, 0, -1]
            np.testing.assert_allclose(found.moved_right[..., place], split[..., held].sum(-1), atol=2e-4)
            place += 1


def test_at_the_last_layer_the_direct_effect_is_the_total_one_but_for_its_mlp() -> None:
    """Of a model whose last MLP is silent, nothing comes after the last layer's heads."""
    model = landed.load()
    last = str(model.config.n_layers - 1)
    layer = model.params["layers"][last]
    silent = {**layer, "mlp": {**layer["mlp"], "W_down": layer["mlp"]["W_down"] * 0}}
    params = {**model.params, "layers": {**model.params["layers"], last: silent}}
    model = landed.Model(model.config, params, model.vocabulary)
    [pairs] = pairs_of(naming(answered(landed.load(), tasks()["indirect object"], 6)))
    found = name_movers(model, [pairs])
    question = pairs.question(params, model.config)
    run = sweep(model, pairs.clean, [zero_head(int(last), head) for head in range(model.config.n_heads)], question)
    np.testing.assert_allclose(found.direct[-1], run.effect[..., 0], atol=1e-3)


def test_prompts_without_their_names_are_left_out_or_refused() -> None:
    model = landed.load()
    kept = answered(model, tasks()["succession"], 8)
    assert not naming(kept).prompts  # the answer is not in the prompt
    with pytest.raises(LandedError, match="both names"):
        name_movers(model, pairs_of(kept))
    with pytest.raises(LandedError, match="at least one prompt"):
        name_movers(model, [])
