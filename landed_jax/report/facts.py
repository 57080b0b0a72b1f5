"""A model's facts as rows of text."""

import jax.numpy as jnp

from landed_jax.memory.estimates import attribution_bytes, choose_passes, choose_runs, sweep_bytes, trace_bytes
from landed_jax.memory.host import host_memory
from landed_jax.memory.shortage import human_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SOURCES, WRITES
from landed_jax.nn.parameters import count_parameters
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.nn.stream_order import site_names
from landed_jax.tokens import bucket_length

_QK_NORMS = {None: "none", "head": "over each head's coordinates", "width": "over the coordinates of all heads"}


def model_facts(config: ModelConfig, weight_dtype: str | None) -> list[tuple[str, str]]:
    """The architecture, the parameter count and the writes it makes."""
    kv = config.n_kv_heads
    sharing = "" if kv == config.n_heads else f" on {kv} key and value heads"
    count = count_parameters(config)
    rows = [
        ("kind", config.family),
        ("layers", str(config.n_layers)),
        ("d_model", str(config.d_model)),
        ("heads", f"{config.n_heads} of {config.head_dim} coordinates{sharing}"),
        ("d_ff", f"{config.d_ff} ({config.activation}{'' if config.gated_mlp else ', without a gate'})"),
        ("vocabulary", f"{config.vocab_size}{' (embedding and unembedding tied)' if config.tie_embeddings else ''}"),
        ("rotary embedding", _rotary(config)),
        ("positions", f"{config.max_positions}{' (learned)' if config.learned_positions else ''}"),
        ("sliding window", _window(config)),
        ("biases", _biases(config)),
        ("query and key norms", _QK_NORMS[config.qk_norm]),
        ("norms of the stream", "LayerNorm" if config.norm == "layer" else "RMSNorm"),
        ("blocks", "parallel" if config.parallel_blocks else "attention, then MLP"),
        ("parameters", f"{count:,}"),
    ]
    if weight_dtype is not None:
        rows.append((f"weights in {weight_dtype}", human_bytes(count * jnp.dtype(weight_dtype).itemsize)))
    writes = config.n_layers * (config.n_heads + config.d_ff) + (2 if config.learned_positions else 1)
    embeddings = "the embeddings of token and position" if config.learned_positions else "the embedding"
    rows.append(("read sites", f"{len(site_names(config))}"))
    rows.append(("writes a position", f"{writes:,} (heads, neurons, {embeddings})"))
    return rows


def _biases(config: ModelConfig) -> str:
    parts = {
        "queries, keys and values": config.qkv_bias,
        "attention's output": config.output_bias,
        "MLP": config.mlp_bias,
    }
    return "; ".join(name for name, has in parts.items() if has) or "none"


def _rotary(config: ModelConfig) -> str:
    if not config.ropes:
        return "none"
    part = "" if config.rotary_dim is None else f", of {config.rotary_dim} coordinates of each head"
    local = "" if config.local_rope is None else f"; in windows {_one_rope(config.local_rope)}"
    growth = "" if config.query_growth == 0 else f", queries growing with position by {config.query_growth:g}"
    return f"{_one_rope(config.rope)}{local}{part}{growth}"


def _one_rope(rope: RopeConfig) -> str:
    if rope.kind == "default":
        return f"theta {rope.theta:g}"
    by = f"beyond {rope.original_max_positions} positions" if rope.kind == "longrope" else f"by {rope.factor:g}"
    return f"theta {rope.theta:g}, {rope.kind} scaling {by}"


def _window(config: ModelConfig) -> str:
    held = sum(window is not None for window in config.windows)
    if not held:
        return "none"
    return f"{config.sliding_window}{'' if held == config.n_layers else f' in {held} of {config.n_layers} layers'}"


def trace_facts(config: ModelConfig, *, batch: int, length: int) -> list[tuple[str, str]]:
    """What a trace of all positions keeps, of one position, and by source token."""
    whole = trace_bytes(config, batch=batch, length=length)
    one = trace_bytes(config, batch=batch, length=length, positions=1)
    sources = trace_bytes(config, batch=batch, length=length, record=WRITES | SOURCES)
    return [
        *((name, human_bytes(size)) for name, size in sorted(whole.items(), key=lambda item: -item[1])[:5]),
        ("all positions", human_bytes(sum(whole.values()))),
        ("all positions, by source token", human_bytes(sum(sources.values()))),
        ("one position", human_bytes(sum(one.values()))),
    ]


def attribution_facts(
    config: ModelConfig, weight_dtype: str | None, *, batch: int, length: int, positions: int | None
) -> list[tuple[str, str]]:
    """What `attribute_streaming` needs in each way, and which it would take in this machine's own memory.

    No device is asked: to start one takes seconds, and there may be none.
    """
    weights = count_parameters(config) * jnp.dtype(weight_dtype or "float32").itemsize
    memory = host_memory()
    rows = [("this machine", human_bytes(memory)), ("less the weights", human_bytes(max(memory - weights, 0)))]
    for effects, asked in ((False, ""), (True, ", with effects")):
        needed = attribution_bytes(config, batch=batch, length=length, positions=positions, effects=effects)
        chosen = choose_passes(needed, weights, memory)
        for passes, name in ((1, "one pass"), (2, "two passes")):
            rows.append((name + asked, human_bytes(needed[passes]) + (" (chosen here)" if passes == chosen else "")))
    return rows


def sweep_facts(
    config: ModelConfig, weight_dtype: str | None, *, over: str, batch: int, length: int
) -> list[tuple[str, str]]:
    """What a sweep would cost at the last position: runs, work and memory.

    Args:
        over: ``heads``; ``parts``, each layer's attention and MLP; ``positions``, these and the stream, everywhere.
    """
    depth = config.n_layers
    runs = {"heads": depth * config.n_heads, "parts": 2 * depth, "positions": 3 * depth * length}[over]
    # A run begins at its layer, where only what stands behind the head or the write is computed anew.
    passes = runs / depth * sum(depth - layer for layer in range(depth)) / depth
    if over == "positions":
        passes *= sum(min(bucket_length(length - first), length) for first in range(length)) / length**2
    needed = sweep_bytes(config, batch=batch, length=length)
    weights = count_parameters(config) * jnp.dtype(weight_dtype or "float32").itemsize
    most = min(runs, choose_runs(needed, weights, host_memory()))
    return [
        ("runs", f"{runs:,}"),
        ("work", f"about that of {max(passes, 1):,.0f} forward passes"),
        ("the clean run, kept", human_bytes(needed["shared"])),
        ("each run at a time", human_bytes(needed["run"])),
        ("at a time, in a quarter of this machine's memory", f"{most:,}"),
    ]
