"""What a sweep of interventions costs beside as many runs one by one, and beside a loop over torch hooks.

    python -m benchmarks.sweeps                  # the bundled model: all heads, and all layers and positions
    python -m benchmarks.sweeps --model FOLDER   # all heads of another, and the same by hand with torch hooks
    python -m benchmarks.sweeps --model FOLDER --profile  # besides: how a layer's rate grows with the runs at a time

*Separate*: `model.trace` with one intervention, the last position's logits, once for each. *jit*: the same forward pass
as a user's own ``jax.jit``. *Hooks*: `transformers` with a forward pre-hook on one ``o_proj``, once for each head. Of
the slower ones a part of the runs is timed, spread evenly, and multiplied. Rounds alternate, so that other load on the
machine affects all alike; medians.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.environment import prepare

PROMPT = "The Colosseum is in the city of"


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--model", help="a folder; by default the bundled model")
    parser.add_argument("--lengths", type=int, nargs="+", default=[9, 32], help="tokens, where --model is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--of", type=int, default=30, help="how many separate runs are timed")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    import landed_jax as landed
    from landed_jax.interventions import every_head, every_layer_and_position

    model = landed.load(options.model) if options.model else landed.load()
    print("| model | tokens | runs | way | ms | times the sweep's |\n|---|---|---|---|---|---|")
    for length in options.lengths if options.model else [None]:
        tokens = model.encode(PROMPT) if length is None else _prompt(model, length)
        stacks = {"heads": every_head(model.config)}
        if length is None:
            stacks["layers x positions"] = every_layer_and_position(model.config, tokens.ids.shape[1])
        hooked = options.model if options.model else None
        for name, stack in stacks.items():
            _measure(model, tokens, name, stack, options.rounds, options.of, hooked)
        if options.profile:
            _profile(model, tokens)
    return 0


def _prompt(model: Any, length: int) -> Any:
    import numpy as np

    from landed_jax.tokens import Tokens

    return Tokens.from_lists([np.random.default_rng(0).integers(5, model.config.vocab_size, length).tolist()])


def _measure(model: Any, tokens: Any, name: str, stack: Any, rounds: int, of: int, hooked: str | None) -> None:
    import jax
    import numpy as np

    import landed_jax as landed
    from landed_jax.interventions import sweep

    token = int(np.asarray(model.trace(tokens, record=(), at=-1).logits).argmax())
    count = min(of, len(stack))
    chosen = [stack.members[i] for i in np.linspace(0, len(stack) - 1, count).astype(int)]
    compiled = jax.jit(lambda p, i: landed.forward(p, tokens, model.config, record=(), at=-1, interventions=i)[0])
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "sweep": (lambda: sweep(model, tokens, stack, token).value, len(stack)),
        "separate": (
            lambda: [model.trace(tokens, record=(), at=-1, interventions=one).logits for one in chosen],
            count,
        ),
        "jit": (lambda: [compiled(model.params, one) for one in chosen], count),
    }
    if hooked is not None:
        heads = np.linspace(0, len(stack) - 1, count).astype(int)
        ways["hooks"] = (_hooks(hooked, tokens, token, np.asarray(heads), model.config.n_heads), count)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for run, _ in ways.values():
        jax.block_until_ready(run())
    for turn in range(rounds):
        for way in list(ways)[:: 1 if turn % 2 else -1]:
            run, timed = ways[way]
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[way].append((time.perf_counter() - start) * len(stack) / timed)
    for way, times in seconds.items():
        ratio = statistics.median(one / own for one, own in zip(times, seconds["sweep"], strict=True))
        row = model.source or "bundled", tokens.ids.shape[1], f"{len(stack)} {name}", way
        took = f"{1e3 * statistics.median(times):.1f}"
        print(f"| {' | '.join(map(str, row))} | {took} | {ratio:.1f} |", flush=True)


def _hooks(folder: str, tokens: Any, token: int, heads: Any, n_heads: int) -> Callable[[], list[float]]:
    """The loop that one writes by hand: for each head a hook that zeroes its part of what goes into ``o_proj``."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor(np.asarray(tokens.ids))

    @torch.inference_mode()
    def run() -> list[float]:
        found = []
        for layer, head in (divmod(int(place), n_heads) for place in heads):
            projection = model.model.layers[layer].self_attn.o_proj
            size = projection.in_features // n_heads

            def zero(_: Any, args: Any, first: int = head * size, size: int = size) -> Any:
                z = args[0].clone()
                z[..., first : first + size] = 0
                return (z,)

            handle = projection.register_forward_pre_hook(zero)
            found.append(float(model(ids, use_cache=False, logits_to_keep=1).logits[0, -1, token]))
            handle.remove()
        return found

    return run


def _profile(model: Any, tokens: Any, counts: Sequence[int] = (1, 9, 36, 72)) -> None:
    """Operations a second of one layer with so many runs at a time, and of the whole forward pass alone."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from landed_jax.interventions._runs import Runs
    from landed_jax.interventions._stages import Span, after_layer, layer_params

    config, length = model.config, tokens.ids.shape[1]
    runs = Runs.of(model, tokens, (), jnp.array([length - 1]), 5, jnp.dtype("float32"), watch=False)
    widths = config.d_model * (2 * config.n_heads + 2 * config.n_kv_heads) * config.head_dim
    flops = 2 * length * (widths + (3 if config.gated_mlp else 2) * config.d_model * config.d_ff)
    print("| runs of one layer | ms | GFLOP/s |\n|---|---|---|")
    for count in counts:
        x = jnp.broadcast_to(runs.stream[0], (count, *runs.stream.shape[1:]))

        def layer(index: int, x: jax.Array = x, count: int = count) -> jax.Array:
            kind = {"kind": runs.kinds[index], "span": Span(0, length), "tree": jax.tree.structure(()), "axes": ()}
            part, number = layer_params(model.params, index), np.int32(index)
            how: Any = {"config": config, "runs": count, "together": False, "last": False, **kind}
            return after_layer(part, x, number, runs.shared, (), runs.at, None, **how)[0]

        took = _median(lambda: [layer(i) for i in range(config.n_layers)]) / config.n_layers
        print(f"| {count} | {1e3 * took:.2f} | {count * flops / took / 1e9:.0f} |", flush=True)
    took = _median(lambda: model.trace(tokens, record=(), at=-1).logits)
    whole = flops * config.n_layers + 2 * config.d_model * config.vocab_size
    print(f"| the whole pass alone | {1e3 * took:.2f} | {whole / took / 1e9:.0f} |", flush=True)


def _median(run: Callable[[], Any], rounds: int = 7) -> float:
    import jax

    jax.block_until_ready(run())
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
