"""What attention moves: lengths against NumPy's own writes, idle attention, the table."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import SOURCES, WRITES
from landed_jax.analysis.landing import source_moves
from landed_jax.testbed.planted import CONFIG, copying_head
from tests.models import CONFIGS, NAMES, SMALL, random_params
from tests.reference.numpy_model import numpy_forward
from tests.traces import real_positions, traced

EVERYTHING = WRITES | SOURCES


@pytest.mark.quick
@pytest.mark.parametrize("name", NAMES)
def test_lengths_are_those_of_the_writes(name: str, x64: None) -> None:
    config = CONFIGS[name]
    params = random_params(config, dtype=jnp.float64)
    trace = traced(config, record=EVERYTHING, params=params)
    found, order = source_moves(trace), trace.order
    ref = numpy_forward(params, trace.tokens.ids, trace.tokens.mask, config)
    seen = 0
    for b, p in real_positions(trace):
        for layer in range(config.n_layers):
            W_O = np.asarray(params["layers"][str(layer)]["attn"]["W_O"])
            for head in range(config.n_heads):
                for k in np.flatnonzero(np.asarray(trace.tokens.mask[b])):
                    value = ref["v"][layer, b, k, head // config.group_size]
                    write = (
                        ref["pattern"][layer, b, head, p, k] * (W_O[:, head] @ value) * ref["attn_scale"][layer, b, p]
                    )
                    write = write - write.mean() if config.norm == "layer" else write
                    for site, lengths in ((order.next_attn[layer], found.next), (-1, found.final)):
                        expected = np.linalg.norm(write * ref["gamma"][site] / ref["sigma"][site, b, p])
                        np.testing.assert_allclose(lengths[layer, b, p, head, k], expected, atol=1e-10)
                    seen += 1
    assert seen > 50


def test_a_sink_whose_value_is_nothing_is_idle_and_no_other_is() -> None:
    """One head looks at the first token alone, whose value is then as nothing."""
    trace = traced(SMALL, record=EVERYTHING)
    there = jnp.arange(5) == 0
    pattern = trace[landed.HookPoint.PATTERN].at[1, 0, 2].set(jnp.broadcast_to(there, (5, 5)).astype(jnp.float32))
    awake = dataclasses.replace(trace, sown={**trace.sown, "pattern": pattern})
    value = trace[landed.HookPoint.VALUE].at[1, 0, 0].multiply(1e-3)
    asleep = dataclasses.replace(awake, sown={**awake.sown, "value": value})
    # At the first query every head looks at the first token: it sees no other.
    idle = np.asarray(source_moves(asleep).idle(weight=0.99))
    assert {tuple(place) for place in np.argwhere(idle[:, :, 1:]).tolist()} == {(1, 0, q, 2, 0) for q in range(4)}
    assert not bool(source_moves(awake).idle(weight=0.99)[1, 0, :, 2].any())


def test_the_planted_move_is_the_largest() -> None:
    planted = copying_head(layer=1, head=4, source=2)
    row = source_moves(planted.trace(EVERYTHING)).top(1, site="final")[0]
    assert (row.layer, row.head, row.source) == (1, 4, 2) and row.pattern > 0.99


def test_the_table_names_tokens_and_leaves_out_padding() -> None:
    model = landed.load()
    trace = model.trace(["The Colosseum is in the city of", "The Louvre"], record=EVERYTHING)
    moves = source_moves(trace)
    rows = moves.top(10_000, batch=1)
    real = int(trace.tokens.mask[1].sum())
    assert len(rows) == real * (real + 1) // 2 * model.config.n_layers * model.config.n_heads
    assert min(row.source for row in rows) == trace.tokens.ids.shape[1] - real
    assert [row.next for row in rows] == sorted((row.next for row in rows), reverse=True)
    assert "' Louvre'@" in repr(rows[:40]) and len(rows[:40].to_pandas()) == 40
    with pytest.raises(landed.LandedError, match="next read or at the final"):
        moves.top(1, site="middle")


def test_a_prompt_beside_others_moves_the_same() -> None:
    params = random_params(SMALL)
    both = traced(SMALL, record=EVERYTHING, params=params)
    row = np.asarray(both.tokens.ids)[1][np.asarray(both.tokens.mask)[1]]
    _, alone = landed.forward(params, jnp.asarray(row)[None], SMALL, record=EVERYTHING)
    one = source_moves(alone.bind(params))
    many, n = source_moves(both), len(row)
    np.testing.assert_allclose(many.next[:, 1, -n:, :, -n:], one.next[:, 0], atol=1e-5)
    np.testing.assert_allclose(many.relative_value[:, 1, -n:], one.relative_value[:, 0], atol=1e-5)
    assert not bool(many.idle(weight=0.0, share=np.inf)[:, 1, :-n].any())  # padding is nobody's query


def test_shapes_of_the_planted_model() -> None:
    assert source_moves(copying_head().trace(EVERYTHING)).next.shape == (CONFIG.n_layers, 1, 8, CONFIG.n_heads, 8)
