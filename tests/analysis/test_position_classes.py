"""Classes of positions against a loop over the tokens."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landed_jax import LandedError, Tokens, Trace, load
from landed_jax.analysis.scale._position_classes import delimiter_ids, is_delimiter, position_classes
from landed_jax.provenance import Provenance
from landed_jax.results.axes import POSITION_CLASSES
from landed_jax.vocabulary import Vocabulary
from tests.models import SMALL

TEXTS = ["<pad>", "<s>", " the", ".", ",", "\n", " ", " —", "a.", "$", "…", "?!", " x"]
DELIMITERS = (3, 4, 5, 6, 7, 9, 10, 11)


class Thirteen(Vocabulary):
    """A vocabulary of `SMALL`'s size, without a tokenizer."""

    def __init__(self) -> None:
        pass

    def text(self, token: int) -> str:
        return TEXTS[token]


def trace_of(tokens: Tokens, at: list[int] | None = None, **fields: Any) -> Trace:
    columns = jnp.arange(tokens.ids.shape[1]) if at is None else jnp.asarray(at)
    return Trace(Provenance(tokens, columns, SMALL, **fields), {})


def expected(tokens: Tokens, delimiters: tuple[int, ...] | list[int]) -> np.ndarray:
    found = np.zeros((3, *tokens.ids.shape), bool)
    for b, (ids, mask) in enumerate(zip(np.asarray(tokens.ids), np.asarray(tokens.mask), strict=True)):
        real = [p for p in range(len(ids)) if mask[p]]
        for p in real:
            name = "first" if p == real[0] else "delimiter" if ids[p] in delimiters else "other"
            found[POSITION_CLASSES.index(name), b, p] = True
    return found


@st.composite
def batches(draw: st.DrawFn) -> Tokens:
    """Prompts of six columns with padding on either side, its ids drawn too."""
    lengths = draw(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=3))
    ids = draw(st.lists(st.lists(st.integers(0, 12), min_size=6, max_size=6), min_size=len(lengths), max_size=9))
    mask = [[p < n if right else p >= 6 - n for p in range(6)] for n, right in lengths]
    return Tokens(jnp.asarray(ids[: len(lengths)], jnp.int32), jnp.asarray(mask))


@given(batches(), st.lists(st.integers(0, 12), max_size=5))
def test_each_real_token_is_in_its_class_and_padding_in_none(tokens: Tokens, delimiters: list[int]) -> None:
    found = position_classes(trace_of(tokens), delimiters=delimiters).members
    np.testing.assert_array_equal(found, expected(tokens, delimiters))
    np.testing.assert_array_equal(found.sum(0), tokens.mask)
    some = position_classes(trace_of(tokens, at=[5, 2]), delimiters=jnp.asarray(delimiters, jnp.int32)).members
    np.testing.assert_array_equal(some, np.asarray(found)[:, :, [5, 2]])


@given(batches())
def test_the_vocabulary_says_which_are_delimiters(tokens: Tokens) -> None:
    trace = trace_of(tokens, vocabulary=Thirteen())
    np.testing.assert_array_equal(position_classes(trace).members, expected(tokens, DELIMITERS))


@pytest.mark.quick
def test_delimiters_by_their_text() -> None:
    assert delimiter_ids(Thirteen(), range(13)) == DELIMITERS
    assert delimiter_ids(Thirteen(), np.array([12, 5, 5, 3])) == (3, 5)
    assert delimiter_ids(Thirteen(), []) == ()
    for text in ("«", "¿", "\t\r\n", "--", "。", "\u00a0", "_", "|"):
        assert is_delimiter(text), text
    for text in ("1", ".1", "<0x0A>", "é", "</s>", "#7"):
        assert not is_delimiter(text), text


@pytest.mark.parametrize(
    ("name", "marks", "prompt"),
    [
        ("bundled", (".", ","), "The teacher, the waiter and the boys."),
        ("stories", (".", ",", "!"), "Lily ran, and fell."),  # a tokenizer of another kind, with byte pieces
    ],
)
def test_delimiters_of_a_real_tokenizer(
    name: str, marks: tuple[str, ...], prompt: str, request: pytest.FixtureRequest
) -> None:
    model = load(request.getfixturevalue("stories") if name == "stories" else name)
    assert model.vocabulary is not None
    ids = delimiter_ids(model.vocabulary, range(model.config.vocab_size))
    assert {model.vocabulary.token_id(text) for text in marks} <= set(ids)
    assert not any(any(c.isalnum() for c in model.vocabulary.text(token)) for token in ids)
    tokens = model.encode(prompt)
    texts = [model.vocabulary.text(int(token)) for token in tokens.ids[0]]
    delimiter = np.asarray(position_classes(model.trace(tokens)).members)[1, 0]
    assert [text for text, yes in zip(texts, delimiter, strict=True) if yes] == [c for c in prompt if c in marks]


def test_under_jit_and_vmap() -> None:
    tokens = Tokens(jnp.array([[0, 1, 3, 5], [3, 3, 2, 4]]), jnp.array([[False, True, True, True], [True] * 4]))
    trace = trace_of(tokens)
    plain = position_classes(trace, delimiters=(3, 4)).members
    np.testing.assert_array_equal(jax.jit(lambda t, d: position_classes(t, delimiters=d).members)(trace, [3, 4]), plain)

    def one(row: Tokens) -> jax.Array:
        batch = jax.tree.map(lambda leaf: leaf[None], row)
        return position_classes(
            dataclasses.replace(trace, provenance=dataclasses.replace(trace.provenance, tokens=batch)),
            delimiters=(3, 4),
        ).members[:, 0]

    np.testing.assert_array_equal(jnp.moveaxis(jax.vmap(one)(tokens), 0, 1), plain)
    sets = jax.vmap(lambda d: position_classes(trace, delimiters=d).members)(jnp.array([[3, 4], [5, 5]]))
    np.testing.assert_array_equal(sets[1], expected(tokens, [5]))


@pytest.mark.quick
def test_what_cannot_be_told_is_refused() -> None:
    tokens = Tokens.from_lists([[1, 2]])
    with pytest.raises(LandedError, match="no tokenizer"):
        position_classes(trace_of(tokens))
    with pytest.raises(LandedError, match="delimiter_ids"):
        jax.jit(position_classes)(trace_of(tokens, vocabulary=Thirteen()))
    for wrong in ([0.5], jnp.array([[1]]), 3):
        with pytest.raises(LandedError, match="list of token ids"):
            position_classes(trace_of(tokens), delimiters=wrong)  # pyright: ignore[reportArgumentType]
