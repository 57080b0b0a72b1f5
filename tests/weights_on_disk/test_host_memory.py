"""Weights in the host's memory: each is read from its file once, and gives the numbers of weights on the device."""

import jax
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import loading
from landed_jax.nn.weights_in_host_memory import bytes_on_disk, in_host_memory
from tests.models import SMALL, random_params
from tests.weights_on_disk.leaves import Shelf

IDS = landed.Tokens.from_lists([[1, 5, 2], [3, 8]])


def test_each_matrix_is_read_once() -> None:
    params, shelf, said = random_params(SMALL), Shelf(), []
    away = in_host_memory(shelf.on_disk(params), lambda done, total: said.append((done, total)))
    matrices = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    assert set(shelf.reads.values()) == {1} and len(shelf.reads) == len(matrices)
    total = sum(leaf.nbytes for leaf in matrices)
    assert bytes_on_disk(away) == total and said[-1] == (total, total)
    expected = landed.attribute(landed.Model(SMALL, params).trace(IDS), effects=True)
    for _ in range(2):
        found = landed.attribute(landed.Model(SMALL, away).trace(IDS), effects=True)
        for a, b in zip(jax.tree.leaves(found.landed), jax.tree.leaves(expected.landed), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert set(shelf.reads.values()) == {1}


@pytest.mark.parametrize("share", [1.0, 0.0], ids=["held", "too small"])
def test_an_accelerator_gets_them_where_the_host_holds_them(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    real = loading.in_host_memory
    prompt = "The Colosseum is in the city of"
    expected = landed.load().trace(prompt, at=-1).logits
    monkeypatch.setattr(loading, "default_platform", lambda: "gpu")
    monkeypatch.setattr(loading, "_HOST_SHARE", share)
    monkeypatch.setattr(loading, "in_host_memory", lambda tree, progress: kept.append(1) or real(tree, progress))
    model = landed.load(stream=True)
    assert len(kept) == int(share)
    np.testing.assert_allclose(model.trace(prompt, at=-1).logits, expected, rtol=1e-5, atol=1e-5)
