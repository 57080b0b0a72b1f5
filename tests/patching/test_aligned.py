"""Prompts that align, and one sentence for those that do not."""

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.patching import aligned
from landed_jax.tasks import kept, pairs_of
from landed_jax.testbed.prompts import tasks
from landed_jax.tokens import Tokens
from tests.models import SMALL, random_params

ROME, PARIS = "The Colosseum is in the city of", "The Louvre is in the city of"


def test_text_ids_and_pairs() -> None:
    model = landed.load()
    pair = aligned(model, ROME, PARIS)
    assert np.flatnonzero(pair.differ[0]).tolist() == [2]
    ids = [model.encode(text).ids[0].tolist() for text in (ROME, PARIS)]
    np.testing.assert_array_equal(aligned(model, ids[0], ids[1]).differ, pair.differ)
    [pairs] = pairs_of(kept(model, tasks()["induction"].prompts(4)))
    found = aligned(model, pairs)
    np.testing.assert_array_equal(found.differ, np.asarray(pairs.clean.ids != pairs.corrupted.ids))


def test_warnings_name_the_prompt() -> None:
    pair = aligned(landed.load(), "The zzyzx is in the city of", PARIS)
    assert pair.warnings and all(said.startswith("clean: ") for said in pair.warnings)


@pytest.mark.parametrize(
    ("clean", "corrupted", "says"),
    [
        (
            ROME,
            "The Louvre in Paris is in the city of",
            "has 8 tokens and the corrupted one 10, so they do not align: they part at position 2, where the clean one "
            "has ' Colosseum' and the corrupted one ' Louvre'. Reword one",
        ),
        (ROME, f"{ROME} the", "they part at position 8, where the clean one has its end and the corrupted one ' the'"),
        ([ROME, ROME], [PARIS, f"{PARIS} the"], "of pair 1 has 8 tokens and the corrupted one 9"),
        ([ROME, ROME], [PARIS, f"{PARIS} the"], r"\(1 of 2 pairs do not align.\)"),
        (ROME, ROME, "the same tokens, so there is nothing to patch"),
        ([ROME, PARIS], [PARIS, PARIS], "of pair 1 have the same tokens"),
        ([ROME, PARIS], [PARIS], "2 clean prompts and 1 corrupted ones"),
        (ROME, None, "a clean prompt and a corrupted one"),
    ],
)
def test_what_does_not_align(clean: object, corrupted: object, says: str) -> None:
    with pytest.raises(LandedError, match=says):
        aligned(landed.load(), clean, corrupted)  # pyright: ignore[reportArgumentType] # some are refused


def test_without_a_tokenizer_tokens_are_named_by_their_ids() -> None:
    model = landed.Model(SMALL, random_params(SMALL))
    with pytest.raises(LandedError, match="the clean one has '#5' and the corrupted one '#6'"):
        aligned(model, [1, 5], [1, 6, 7])


def test_other_padding_is_refused() -> None:
    ids, left = jnp.array([[0, 1, 2]]), jnp.array([[False, True, True]])
    model = landed.Model(SMALL, random_params(SMALL))
    with pytest.raises(LandedError, match="padded differently"):
        aligned(model, Tokens(ids, left), Tokens(jnp.array([[1, 3, 0]]), left[:, ::-1]))
    [pairs] = pairs_of(kept(landed.load(), tasks()["induction"].prompts(2)))
    with pytest.raises(LandedError, match="give them alone"):
        aligned(landed.load(), pairs, PARIS)
