"""A model's facts as rows of text."""

import jax.numpy as jnp

from landed_jax.memory.estimates import attribution_bytes, choose_passes, choose_runs, sweep_bytes, trace_bytes
from landed_jax.memory.host import host_memory
from landed_jax.memory.shortage import human_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SOURCES, WRITES
from landed_jax.nn.parameters import count_parameters
from landed_jax.nn.stream_order import site_names
from landed_jax.tokens import bucket_length


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
        ("d_ff", f"{config.d_ff} ({config.activation}){' in each expert' if config.n_experts else ''}"),
        ("vocabulary", f"{config.vocab_size}{' (embedding and unembedding tied)' if config.tie_embeddings else ''}"),
        ("positions", f"{config.max_positions}"),
        ("ε of the norms", f"{config.norm_eps:g}"),
        ("parameters", f"{count:,}"),
    ]
    if weight_dtype is not None:
        rows.append((f"weights in {weight_dtype}", human_bytes(count * jnp.dtype(weight_dtype).itemsize)))
    writes = config.n_layers * (config.n_heads + config.n_neurons) + (2 if config.learned_positions else 1)
    embeddings = "the embeddings of token and position" if config.learned_positions else "the embedding"
    rows.append(("read sites", f"{len(site_names(config))}"))
    neurons = "neurons of the chosen experts" if config.n_experts else "neurons"
    rows.append(("writes a position", f"{writes:,} (heads, {neurons}, {embeddings})"))
    return rows


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
    # A run starts from the clean stream at its layer: the layers before are not computed.
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
