"""Calls on an accelerator, beside what the arithmetic of `landed plan` allows.

    python -m benchmarks.accelerator calls --shape 125M --shape 8B    # forward pass and attributions
    python -m benchmarks.accelerator attention                        # beside JAX's and torch's
    python -m benchmarks.accelerator largest                          # a selection beside a sort
    python -m benchmarks.accelerator host                             # weights in the host's memory
    python -m benchmarks.accelerator agreement                        # the bundled model's numbers, beside the CPU's

Random weights, made on the device. Programs are compiled before and run once; then medians of rounds, in alternating
order. *Bound*: the longest of products, memory and sending at the chip's published rates (``landed_jax/planning``).
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.environment import machine
from benchmarks.markdown import markdown
from benchmarks.shapes import SIZES
from benchmarks.tpu_programs import shapes
from landed_jax.memory.shortage import human_bytes
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, init_params, stack_layers
from landed_jax.planning._compiled import program
from landed_jax.planning._plan import plan
from landed_jax.planning._task import Task, What

CALLS: tuple[What, ...] = ("forward", "last", "all", "effects", "top")
APART = "forward, layers apart"
CHIPS = {"H100": "h100:1", "H200": "h200:1", "A100": "a100-80gb:1"}
DTYPES = {"125M": jnp.float32}


def topology() -> str | None:
    """The name under which this device is planned for."""
    kind = jax.devices()[0].device_kind
    return next((name for part, name in CHIPS.items() if part in kind), None)


def rounds(ways: Mapping[str, Callable[[], Any]], count: int) -> dict[str, float]:
    """Median seconds of each way, after one run of each."""
    for run in ways.values():
        jax.block_until_ready(run())
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(count):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(ways[name]())
            took[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in took.items()}


def ids_of(config: ModelConfig, length: int) -> jax.Array:
    return jax.device_put(np.random.default_rng(0).integers(0, config.vocab_size, (1, length), dtype=np.int32))


def calls(
    name: str, config: ModelConfig, lengths: Iterable[int], count: int, only: Sequence[str] | None
) -> list[list[str]]:
    """Every call of one shape, at each length; the forward pass in the other layout too, and in bfloat16 products."""
    params = init_params(config, jax.random.key(0), DTYPES.get(name, jnp.bfloat16))
    narrow = dataclasses.replace(config, bfloat16_products=True)
    apart = {APART: config}
    stacked = {what: config for what in CALLS} | {f"{what}, bfloat16": narrow for what in ("forward", "top")}
    rows = []
    for length in lengths:
        ids = ids_of(config, length)
        for known, held in ((apart, params), (stacked, stack_layers(params))):
            some = {title: config for title, config in known.items() if only is None or title in only}
            rows += _compared(name, some, held, ids, count) if some else []
    return rows


def _compared(
    name: str, asked: Mapping[str, ModelConfig], params: Params, ids: jax.Array, count: int
) -> list[list[str]]:
    ways, compiled, built = {}, {}, {}
    for title, config in asked.items():
        task = Task(_what(title), ids.shape[1], 1)
        lowered = jax.jit(program(config, task, 1)).lower(params, ids)
        start = time.perf_counter()
        made = compiled[title] = lowered.compile()
        built[title] = time.perf_counter() - start
        ways[title] = lambda made=made: made(params, ids)
    took = rounds(ways, count)
    rows = []
    for title, config in asked.items():
        memory: Any = compiled[title].memory_analysis()
        needs = human_bytes(memory.temp_size_in_bytes + memory.output_size_in_bytes)
        row = [name, str(ids.shape[1]), title, f"{1e3 * took[title]:.2f}", _of_bound(title, config, params, ids, took)]
        rows.append([*row, needs, f"{built[title]:.1f}", _closure(compiled[title](params, ids))])
        sys.stderr.write(f"{' | '.join(rows[-1])}\n")
    return rows


def _what(title: str) -> What:
    return next(what for what in CALLS if what == title.split(",")[0])


def _of_bound(title: str, config: ModelConfig, params: Params, ids: jax.Array, took: Mapping[str, float]) -> str:
    chip = topology()
    if chip is None:
        return ""
    dtype = jax.tree.leaves(params)[0].dtype
    precision = "default" if config.bfloat16_products else "highest"
    what = _what(title)
    planned = plan(config, chip, length=ids.shape[1], what=what, dtype=dtype, precision=precision)
    return f"{planned.layout.seconds.bound / took[title]:.0%}"


def _closure(result: Any) -> str:
    if not hasattr(result, "closure_error"):
        return ""
    return f"{float(jnp.max(result.closure_error) / jnp.max(jnp.abs(result.value))):.1e}"


def attention(lengths: Iterable[int], count: int) -> list[list[str]]:
    """Llama-3.1-8B's attention of one layer: ours, by the bytes of scores that exist at a time, and others'."""
    from landed_jax.nn import attention as own
    from landed_jax.nn.config import Scoring

    heads, keys, size, rows = 32, 8, 128, []
    for length in lengths:
        drawn = jax.random.split(jax.random.key(0), 3)
        q, k, v = (
            jax.random.normal(key, (1, length, n, size)) for key, n in zip(drawn, (heads, keys, keys), strict=True)
        )
        mask = jnp.ones((1, length), bool)
        ways: dict[str, Callable[[], Any]] = {}
        for power in (26, 28, 30):
            limit = 2**power

            def ours(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, limit: int = limit) -> jax.Array:
                return own._attend_in_spans(q, k, v, mask, Scoring(size**-0.5, None), None, limit)

            ways[f"ours, {limit >> 20} MiB of scores"] = _ready(ours, q, k, v, mask)
        ways["jax.nn.dot_product_attention"] = _ready(
            lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="xla"), q, k, v
        )
        narrow = [x.astype(jnp.bfloat16) for x in (q, k, v)]
        if jax.default_backend() == "gpu":
            ways["the same by cuDNN, bfloat16"] = _ready(
                lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn"), *narrow
            )
        ways |= _torch_attention(q, k, v)
        took = rounds(ways, count)
        first = took["ours, 256 MiB of scores"]
        rows += [[str(length), name, f"{1e3 * one:.2f}", f"{first / one:.2f}"] for name, one in took.items()]
        sys.stderr.write(f"{rows[-len(took) :]}\n")
    return rows


def _ready(function: Callable[..., Any], *given: Any) -> Callable[[], Any]:
    with jax.default_matmul_precision("highest"):
        compiled = jax.jit(function).lower(*given).compile()
    return lambda: compiled(*given)


def _torch_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> dict[str, Callable[[], Any]]:
    try:
        import torch
    except ImportError:
        return {}
    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    query, key, value = (torch.tensor(np.asarray(jnp.moveaxis(x, 1, 2))).to(device) for x in (q, k, v))

    def run() -> None:
        torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return {"torch's scaled_dot_product_attention": run}


def largest(count: int) -> list[list[str]]:
    """The thousand largest of so many numbers."""
    from landed_jax.nn.largest import selected

    rows = []
    for size in (114_688, 2**20, 2**23):
        values = jax.random.normal(jax.random.key(0), (size,))

        def select(values: jax.Array) -> Any:
            places = selected(values, 1000)
            return jax.lax.top_k(values[places], 1000)

        ways = {"a sort": lambda values: jax.lax.top_k(values, 1000), "a selection": select}
        took = rounds({name: _ready(way, values) for name, way in ways.items()}, count)
        rows += [[f"{size:,}", name, f"{1e3 * one:.3f}"] for name, one in took.items()]
    return rows


def host(name: str, config: ModelConfig, length: int, count: int) -> list[list[str]]:
    """The same calls with the weights on the device and in the host's memory."""
    import landed_jax as landed
    from landed_jax.analysis.reduce import top_writes
    from landed_jax.nn.weights_in_host_memory import bytes_on_disk, in_host_memory
    from landed_jax.nn.weights_on_disk import WeightOnDisk

    there = init_params(config, jax.random.key(0), DTYPES.get(name, jnp.bfloat16))

    def outside(leaf: jax.Array) -> Any:
        if leaf.ndim < 2:
            return leaf
        return WeightOnDisk(
            leaf.shape, np.dtype(leaf.dtype), lambda: leaf, lambda rows: np.asarray(leaf[jnp.asarray(rows)])
        )

    away = in_host_memory(jax.tree.map(outside, there))
    size = bytes_on_disk(away)
    models = {
        "on the device": landed.Model(config, stack_layers(there)),
        "in the host's memory": landed.Model(config, away),
    }
    leaves = [leaf for leaf in jax.tree.leaves(away) if isinstance(leaf, WeightOnDisk)]
    ids, rows = ids_of(config, length), []
    for what in ("forward", "top"):
        ways = {}
        for place, model in models.items():
            if what == "forward":
                ways[place] = lambda model=model: model.trace(ids, record=()).logits
            else:
                kept = top_writes(1000)
                ways[place] = lambda model=model, kept=kept: model.attribute_streaming(ids, kept, passes=1).reduced
        if what == "forward":
            ways["copying the weights alone"] = lambda: [jax.block_until_ready(leaf.read()) for leaf in leaves][-1]
        took = rounds(ways, count)
        rows += [[name, str(length), what, place, f"{1e3 * one:.0f}"] for place, one in took.items()]
        sys.stderr.write(f"{rows[-len(took) :]}\n")
    copied = float(next(row[4] for row in rows if row[3].startswith("copying"))) / 1e3
    rows.append([name, str(length), "", f"{size / 1e9:.1f} GB, copied at {size / 1e9 / copied:.0f} GB/s", ""])
    return rows


def agreement() -> list[list[str]]:
    """The bundled model on this device and on the CPU, in float32: the largest difference, relative to the largest."""
    import landed_jax as landed

    prompts, found = ["The Colosseum is in the city of", "The keys near the bottle"], {}
    for side, device in (("here", jax.devices()[0]), ("cpu", jax.devices("cpu")[0])):
        with jax.default_device(device):
            model = landed.load(stacked=False)
            shares = landed.attribute(model.trace(prompts), effects=True)
            values = {"logits": model.trace(prompts).logits, "closure error": shares.closure_error}
            found[side] = {**values, "landed": shares.landed, "direct effects": shares.direct_effect}
    here, cpu = found.values()
    rows = []
    for name in here:
        ours, theirs = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(side[name])]) for side in (here, cpu))
        largest = np.abs(theirs).max()
        rows.append([name, f"{largest:.3g}", f"{np.abs(ours - theirs).max() / largest:.1e}"])
    return rows


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("what", choices=["calls", "attention", "largest", "host", "agreement"])
    known = {"125M": SIZES["125M"], **shapes()}
    parser.add_argument("--shape", choices=list(known), action="append")
    parser.add_argument("--length", type=int, action="append")
    parser.add_argument(
        "--call", action="append", help=f"of `calls`: {APART}, {', '.join(CALLS)}, or forward, bfloat16"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(given)
    chosen, lengths = options.shape or ["8B"], options.length or [512, 2048]
    if options.what == "calls":
        heads = ["shape", "tokens", "call", "ms", "bound ÷ time", "beside the weights", "compile s", "closure"]
        rows = [row for name in chosen for row in calls(name, known[name], lengths, options.rounds, options.call)]
    elif options.what == "attention":
        heads, rows = ["tokens", "way", "ms", "ours ÷ it"], attention(lengths, options.rounds)
    elif options.what == "largest":
        heads, rows = ["numbers", "by", "ms"], largest(options.rounds)
    elif options.what == "host":
        heads = ["shape", "tokens", "call", "weights", "ms"]
        rows = [row for name in chosen for row in host(name, known[name], lengths[0], options.rounds)]
    else:
        heads, rows = ["bundled model", "largest", "difference, relative"], agreement()
    facts = "; ".join(f"{name} {value}" for name, value in machine().items())
    command = " ".join(["python -m benchmarks.accelerator", *given])
    print(f"`{command}` ({facts})\n\n{markdown(heads, rows)}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
