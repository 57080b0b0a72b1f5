"""The order of the stream against a walk along it, and nobody else who counts."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax
from landed_jax import LandedError
from landed_jax.nn.stream_order import StreamOrder


def walk(n_layers: int) -> list[tuple[str, str, int]]:
    """Reads and writes as a forward pass meets them."""
    steps = []
    for layer in range(n_layers):
        for part in ("attn", "mlp"):
            steps += [("read", part, layer), ("write", part, layer)]
    return [*steps, ("read", "final", n_layers)]


@pytest.mark.quick
@pytest.mark.parametrize("n_layers", [1, 2, 5, 32])
def test_it_is_what_a_walk_along_the_stream_finds(n_layers: int) -> None:
    order, steps = StreamOrder(n_layers), walk(n_layers)
    reads = [step for step in steps if step[0] == "read"]
    names = [part if part == "final" else f"{layer}.{part}" for _, part, layer in reads]
    assert list(order.sites) == names
    assert list(order.writes) == [f"{layer}.{part}_write" for kind, part, layer in steps if kind == "write"]
    heard = dict(zip(("attn", "mlp"), order.heard(), strict=True))
    for place, read in enumerate(reads):
        before = steps[: steps.index(read)]
        counted = tuple(sum(step[:2] == ("write", part) for step in before) for part in ("attn", "mlp"))
        assert order.index(names[place]) == place
        assert order.layers_before(names[place]) == counted
        for part, found in heard.items():
            assert found[place].tolist() == [("write", part, layer) in before for layer in range(n_layers)]
    for part, following in (("attn", order.next_attn), ("mlp", order.next_mlp)):
        for layer in range(n_layers):
            after = steps[steps.index(("write", part, layer)) :]
            assert reads[following[layer]] == next(step for step in after if step[0] == "read")


@pytest.mark.quick
def test_values_of_layers_and_of_sites_turn_into_each_other() -> None:
    order = StreamOrder(3)
    attn, mlp = jnp.arange(6).reshape(3, 2), 10 + jnp.arange(6).reshape(3, 2)
    along = order.interleave(attn, mlp)
    np.testing.assert_array_equal(along[order.next_attn - 1], attn)
    np.testing.assert_array_equal(along[order.next_mlp - 1], mlp)
    np.testing.assert_array_equal(order.by_layer(along), np.stack([attn, mlp], axis=1))


def test_a_site_that_there_is_not() -> None:
    with pytest.raises(LandedError, match=r"'2\.attn' is not a read site"):
        StreamOrder(2).index("2.attn")


@pytest.mark.quick
def test_no_other_file_counts_layers_times_two() -> None:
    root = Path(landed_jax.__file__).parent
    counting = re.compile(r"2 \* (j?np\.arange\()?(\w+\.)*(layer|n_layers)|\[[12]?::2\]|n_layers \* 2")
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "testbed" not in path.parts and counting.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["nn/stream_order.py"]
