"""What a long prompt's programs hold, from shapes alone: it grows with the length, not with its square."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import landed_jax as landed
from landed_jax import ModelConfig
from landed_jax.nn.attention import ACCELERATOR_SCORES
from landed_jax.nn.parameters import Params, abstract_params
from tests.test_attention import all_equations, limit_scores

CONFIG = ModelConfig(
    vocab_size=61, d_model=16, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=48, max_positions=2**20
)
LENGTHS = (2048, 8192, 32768, 131072)
# Bytes of scores, below which all may exist at once; one for all tests, as traces of one shape are kept between them.
LIMIT = 2**20
Call = Callable[[Params, jax.Array], Any]


def streamed(reduction: landed.reduce.Reduction, passes: Any = 2, *, effects: bool = False) -> Call:
    def run(params: Params, ids: jax.Array) -> Any:
        found = landed.attribute_streaming(params, ids, CONFIG, reduction, effects=effects, passes=passes)
        return dataclasses.replace(found, provenance=None)

    return run


def traced_at(at: list[int] | None, *record: landed.HookPoint) -> Call:
    return lambda params, ids: landed.forward(params, ids, CONFIG, record=frozenset(record), at=at)


def of_one_position(params: Params, ids: jax.Array) -> Any:
    """What `landed run` asks: every write, by source token too."""
    trace = landed.forward(params, ids, CONFIG, record=landed.WRITES | landed.SOURCES, at=[-1])[1].bind(params)
    return landed.attribute(trace).landed, landed.attribution.attribute_by_source(trace).landed


CALLS = {
    "forward": traced_at(None),
    "forward, last position": traced_at([-1]),
    "trace": traced_at(None, *landed.WRITES),
    "one position, by source": of_one_position,
    "top_writes, one pass": streamed(landed.reduce.top_writes(10), 1),
    "top_writes, two passes": streamed(landed.reduce.top_writes(10)),
    "top_writes, effects": streamed(landed.reduce.top_writes(10), effects=True),
    "top_per_position": streamed(landed.reduce.top_per_position(3)),
    "layer_sums": streamed(landed.reduce.layer_sums()),
    "histogram": streamed(landed.reduce.histogram([-1.0, 0.0, 1.0])),
}


def ids_of(length: int) -> Any:
    return jax.ShapeDtypeStruct((1, length), jnp.int32)


def largest_array(call: Call, length: int) -> int:
    """Numbers of the largest value of a traced program, for any platform, however deep in its loops."""
    traced = jax.make_jaxpr(call)(abstract_params(CONFIG), ids_of(length))
    return max(value.aval.size for equation in all_equations(traced.jaxpr) for value in equation.outvars)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_array_grows_with_the_square_of_the_length(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_scores(monkeypatch, LIMIT)
    assert largest_array(call, LENGTHS[-1]) <= LENGTHS[-1] // LENGTHS[0] * largest_array(call, LENGTHS[0])


def test_with_the_packages_own_limits_too() -> None:
    """Of a million tokens the scores take no more than an accelerator may hold of them, and nothing else takes more."""
    assert 4 * largest_array(CALLS["layer_sums"], 2**20) <= ACCELERATOR_SCORES


def temporaries(call: Call, length: int) -> int:
    needs = jax.jit(call).lower(abstract_params(CONFIG), ids_of(length)).compile().memory_analysis()
    assert needs is not None
    return needs.temp_size_in_bytes


@pytest.mark.slow
@pytest.mark.xla
@pytest.mark.parametrize("call", ["forward, last position", "top_writes, two passes", "layer_sums"])
def test_compiled_programs_take_memory_in_proportion(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_scores(monkeypatch, LIMIT)
    taken = [temporaries(CALLS[call], length) for length in LENGTHS]
    assert all(longer <= 4.4 * shorter for shorter, longer in itertools.pairwise(taken))
