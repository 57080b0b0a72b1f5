"""Random models and prompts for property tests: every leaf random, gains and biases too."""

import dataclasses
import itertools
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Leaf, Params, build_tree, leaf_places, stack_layers
from landed_jax.nn.rope_config import RopeConfig, RopeKind
from landed_jax.tokens import Tokens

SMALL = ModelConfig(vocab_size=13, d_model=12, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=10)
BIASED = ModelConfig(
    vocab_size=17,
    d_model=10,
    n_layers=2,
    n_heads=3,
    n_kv_heads=1,
    head_dim=6,
    d_ff=7,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    tie_embeddings=True,
    norm_eps=0.05,
    activation="gelu",
)
WINDOWED = ModelConfig(
    vocab_size=11,
    d_model=8,
    n_layers=1,
    n_heads=2,
    n_kv_heads=2,
    head_dim=8,
    d_ff=9,
    family="mistral",
    sliding_window=2,
    rope=RopeConfig("dynamic", factor=2.0),
    max_positions=3,
)
LAYER_NORM = ModelConfig(
    vocab_size=14,
    d_model=10,
    n_layers=2,
    n_heads=2,
    n_kv_heads=2,
    head_dim=5,
    d_ff=9,
    family="gpt2",
    activation="gelu_tanh",
    norm="layer",
    norm_eps=0.02,
    max_positions=32,
    gated_mlp=False,
    learned_positions=True,
    rotary_layers=(False, False),
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    tie_embeddings=True,
)
PARALLEL = ModelConfig(
    vocab_size=15,
    d_model=12,
    n_layers=2,
    n_heads=3,
    n_kv_heads=3,
    head_dim=4,
    d_ff=8,
    family="gpt_neox",
    activation="gelu",
    norm="layer",
    parallel_blocks=True,
    gated_mlp=False,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
)
BOTH_NORMS = ModelConfig(
    vocab_size=15,
    d_model=10,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=4,
    d_ff=9,
    family="gemma2",
    gain_offset=1.0,
    embedding_scale=10**0.5,
    rounded_embedding_scale=True,
    output_norms=True,
    attention_scale=0.4,
    attention_cap=2.0,
    logit_cap=1.5,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    tie_embeddings=True,
)
RAW_READS = ModelConfig(
    vocab_size=12,
    d_model=8,
    n_layers=2,
    n_heads=2,
    n_kv_heads=1,
    head_dim=6,
    d_ff=7,
    family="olmo2",
    input_norms=False,
    output_norms=True,
    qk_norm="width",
    norm_eps=0.01,
)
SCALED = dataclasses.replace(
    BIASED, family="granite", residual_scale=0.3, logit_scale=2.5, embedding_scale=4.0, attention_scale=0.1
)
EXPERTS = ModelConfig(
    vocab_size=13,
    d_model=10,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=4,
    d_ff=6,
    family="gpt_oss",
    activation="clamped_swiglu",
    sinks=True,
    n_experts=5,
    experts_per_token=2,
    router_bias=True,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    sliding_window=2,
    windowed_layers=(True, False),
)
CONFIGS = {
    "small": SMALL,
    "biased": BIASED,
    "windowed": WINDOWED,
    "layer_norm": LAYER_NORM,
    "parallel": PARALLEL,
    "both_norms": BOTH_NORMS,
    "raw_reads": RAW_READS,
    "scaled": SCALED,
    "experts": EXPERTS,
}
FEW = ("small", "both_norms", "layer_norm")
"""For properties that brute force shows of every kind anyway."""
NAMES = [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS if name not in FEW)]
"""Every kind of model; those that share their code with one of the few are for the slow tests."""
each_config = pytest.mark.parametrize(
    "config", [pytest.param(CONFIGS[name], id=name, marks=() if name in FEW else pytest.mark.slow) for name in CONFIGS]
)


def random_params(config: ModelConfig, seed: int = 0, dtype: Any = jnp.float32) -> Params:
    """Parameters of which every one matters: gains away from 1, biases away from 0."""
    random = np.random.default_rng(seed)

    def draw(leaf: Leaf) -> np.ndarray:
        noise = random.normal(size=leaf.shape(config))
        if leaf.init == "normal":
            return noise * config.d_model**-0.5
        return 0.3 * noise + (leaf.init == "ones")

    # Cast by NumPy: JAX would compile a program for each shape.
    return jax.device_put(build_tree((path, draw(leaf).astype(dtype)) for path, leaf in leaf_places(config)))


def n_sites(config: ModelConfig) -> int:
    """Norms of the model: two a layer, and the final one."""
    return 2 * config.n_layers + 1


def random_tokens(config: ModelConfig, seed: int = 0, lengths: tuple[int, ...] = (5, 3)) -> Tokens:
    """A left-padded batch of prompts of these lengths."""
    random = np.random.default_rng(seed)
    return Tokens.from_lists([random.integers(0, config.vocab_size, n).tolist() for n in lengths])


@st.composite
def ropes(draw: st.DrawFn, pairs: int) -> RopeConfig:
    """Any rotary embedding of so many pairs, turning fast, and scaled in some prompts."""
    kind = draw(st.sampled_from(get_args(RopeKind)))
    short, long = (tuple(start + i / 3 for i in range(pairs)) for start in (1, 2))
    return RopeConfig(
        kind,
        theta=100.0,
        factor=1.0 if kind in ("default", "longrope") else 2.0,
        original_max_positions=draw(st.sampled_from([3, 16])),
        short_factors=short if kind == "longrope" else (),
        long_factors=long if kind == "longrope" else (),
    )


def expert_switches() -> st.SearchStrategy[dict[str, Any]]:
    """One MLP a layer, or several experts."""
    with_experts = {
        "n_experts": st.sampled_from([2, 4]),
        "experts_per_token": st.sampled_from([1, 2]),
        "router_bias": st.booleans(),
        "router_normalised": st.booleans(),
    }
    return st.one_of(st.just({}), st.fixed_dictionaries(with_experts))


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    """Any architecture that the package honours, small."""
    kv_heads = draw(st.integers(1, 3))
    head_dim, rotary_dim = draw(st.sampled_from([4, 6])), draw(st.sampled_from([None, 4]))
    any_rope = ropes((rotary_dim or head_dim) // 2)
    n_layers, window = draw(st.integers(1, 3)), draw(st.sampled_from([None, 1, 2]))
    learned = draw(st.booleans())
    output_norms = draw(st.booleans())
    layers = st.one_of(st.just(()), st.tuples(*[st.booleans()] * n_layers))
    return ModelConfig(
        vocab_size=draw(st.integers(2, 12)),
        d_model=draw(st.integers(1, 12)),
        n_layers=n_layers,
        n_heads=kv_heads * draw(st.integers(1, 3)),
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        d_ff=draw(st.integers(1, 9)),
        activation=draw(st.sampled_from(["silu", "gelu", "relu2"])),
        **draw(expert_switches()),
        norm="rms" if output_norms else draw(st.sampled_from(["rms", "layer"])),
        norm_eps=draw(st.sampled_from([1e-6, 1e-2])),
        parallel_blocks=draw(st.booleans()),
        gated_mlp=draw(st.booleans()),
        learned_positions=learned,
        max_positions=draw(st.sampled_from([8, 64] if learned else [2, 64])),
        rope=draw(any_rope),
        local_rope=draw(st.one_of(st.none(), any_rope)),
        rotary_dim=rotary_dim,
        query_growth=draw(st.sampled_from([0.0, 0.4])),
        sliding_window=window,
        windowed_layers=() if window is None else draw(layers),
        qkv_bias=draw(st.booleans()),
        output_bias=draw(st.booleans()),
        qk_norm=draw(st.sampled_from([None, "head", "width"])),
        mlp_bias=draw(st.booleans()),
        sinks=draw(st.booleans()),
        tie_embeddings=draw(st.booleans()),
        rotary_layers=draw(layers),
        gain_offset=draw(st.sampled_from([0.0, 1.0])),
        embedding_scale=draw(st.sampled_from([1.0, 3.5])),
        rounded_embedding_scale=draw(st.booleans()),
        input_norms=draw(st.booleans()) if output_norms else True,
        output_norms=output_norms,
        residual_scale=draw(st.sampled_from([1.0, 0.3])),
        attention_scale=draw(st.sampled_from([None, 0.2])),
        attention_cap=draw(st.sampled_from([None, 1.5])),
        logit_scale=draw(st.sampled_from([1.0, 0.4])),
        logit_cap=draw(st.sampled_from([None, 2.0])),
    )


def as_they_are(params: Params) -> Params:
    """One subtree a layer."""
    return params


HELD = [
    pytest.param(name, hold, marks=() if name in FEW else pytest.mark.slow)
    for name, hold in zip(CONFIGS, itertools.cycle((as_they_are, stack_layers)))
]
"""Every kind of model, with one of the two ways to hold its parameters."""
