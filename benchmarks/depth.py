"""``python -m benchmarks.depth``: what depth costs, in three ways of running the layers.

*Layers*: one compiled program per kind of layer, called for each layer in turn, as `Model.trace` and the analyses do
on a CPU.
*One program*: all layers in one, as in a user's own ``jit``. *Scan*: one program with a loop over stacked weights.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.environment import prepare


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth", description=__doc__)
    parser.add_argument("--size", default="5M", help="whose width, and whose depth where --layers is not given")
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print("| layers | tokens | what | way | first call, CPU s | first call, s | run, ms | run / one program |")
    print("|---|---|---|---|---|---|---|---|")
    for layers in options.layers:
        for length in options.lengths:
            _measure(options.size, layers, length, options.rounds)
    return 0


def _measure(size: str, n_layers: int, length: int, rounds: int) -> None:
    import jax

    from benchmarks.shapes import prompt, shape
    from benchmarks.weights import Weights
    from landed_jax.nn.parameters import stack_layers

    config = dataclasses.replace(shape(size), n_layers=n_layers)
    params = Weights(config, stacked=False).params
    stacked, ids = stack_layers(params), jax.device_put(prompt(config, length))
    for what, make in (("forward", _forward), ("last", _last)):
        apart, inside = make(config)
        whole, scan = jax.jit(inside), jax.jit(inside)
        ways = {
            "layers": lambda apart=apart: apart(params, ids),
            "one program": lambda whole=whole: whole(params, ids),
            "scan": lambda scan=scan: scan(stacked, ids),
        }
        first = {way: _first(run) for way, run in ways.items()}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(rounds):  # alternating, so that other load on the machine affects all alike
            for way in list(ways)[:: 1 if turn % 2 else -1]:
                times[way].append(_timed(ways[way]))
        base = statistics.median(times["one program"])
        for way, seconds in times.items():
            cpu, wall = first[way]
            run = statistics.median(seconds)
            print(
                f"| {n_layers} | {length} | {what} | {way} | {cpu:.1f} | {wall:.1f} | {1e3 * run:.1f} "
                f"| {run / base:.2f} |",
                flush=True,
            )


def _forward(config: object) -> tuple[Callable, Callable]:
    """All writes recorded; by the package's own calls, and as a function to compile."""
    import landed_jax as landed

    def apart(params: object, ids: object) -> object:
        return landed.Model(config, params).trace(ids).sown  # pyright: ignore[reportArgumentType]

    def inside(params: object, ids: object) -> object:
        return landed.forward(params, ids, config)[1].sown  # pyright: ignore[reportArgumentType]

    return apart, inside


def _last(config: object) -> tuple[Callable, Callable]:
    """The last position's attribution, with direct effects."""
    import landed_jax as landed

    def apart(params: object, ids: object) -> object:
        return landed.attribute(landed.Model(config, params).trace(ids, at=-1))  # pyright: ignore[reportArgumentType]

    def inside(params: object, ids: object) -> object:
        logits, trace = landed.forward(params, ids, config, at=[-1])  # pyright: ignore[reportArgumentType]
        return landed.attribute(dataclasses.replace(trace, logits=logits).bind(params))  # pyright: ignore[reportArgumentType]

    return apart, inside


def _first(run: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    _timed(run)
    return time.process_time() - cpu, time.perf_counter() - wall


def _timed(run: Callable[[], object]) -> float:
    import jax

    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
