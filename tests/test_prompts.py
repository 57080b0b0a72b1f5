"""Prompts in every form that users have, and the warnings that come with them."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from transformers import BatchEncoding

import landed_jax as landed
from landed_jax import LandedError, Model, Tokens
from landed_jax import model as model_module
from landed_jax import prompts as prompts_module
from landed_jax.prompts import PromptWarning, read_ids, read_text, tokens_from_ids
from landed_jax.vocabulary import Vocabulary
from tests import vocabularies
from tests.models import SMALL, random_params

SIZE = SMALL.vocab_size
ONE, TWO = [[1, 5, 7]], [[1, 5, 7], [3, 2]]


class Tensor:
    """Another library's array: NumPy reads it by its protocol."""

    def __init__(self, values: Any) -> None:
        self.values = np.array(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values

    @property
    def ndim(self) -> int:
        return self.values.ndim


def encoding(ids: Any, mask: Any = None, kind: Callable[[Any], Any] = list) -> BatchEncoding:
    return BatchEncoding({"input_ids": kind(ids)} | ({} if mask is None else {"attention_mask": kind(mask)}))


PADDED, MASK = [[1, 5, 7], [99, 3, 2]], [[1, 1, 1], [0, 1, 1]]  # 99: a padding id that the model does not have
FORMS = {
    "a flat list": ([1, 5, 7], ONE),
    "a flat tuple": ((1, 5, 7), ONE),
    "one number": ([3], [[3]]),
    "NumPy's numbers": (list(np.array([1, 5, 7])), ONE),
    "a flat array": (np.array([1, 5, 7]), ONE),
    "a flat array of JAX's": (jnp.array([1, 5, 7]), ONE),
    "a tensor": (Tensor([[1, 5, 7]]), ONE),
    "a flat tensor": (Tensor([1, 5, 7]), ONE),
    "lists": (TWO, TWO),
    "tuples of arrays": ((np.array([1, 5, 7]), jnp.array([3, 2])), TWO),
    "tensors in a list": ([Tensor([1, 5, 7]), Tensor([3, 2])], TWO),
    "small types": (np.array([[1, 5, 7]], np.uint8), ONE),
    "encoding": (encoding([1, 5, 7], [1, 1, 1]), ONE),
    "encoding without a mask": (encoding(TWO), TWO),
    "encoding of unequal lists": (encoding(TWO, [[1, 1, 1], [1, 1]]), TWO),
    "encoding of unequal lists, padded": (encoding([[99, 1, 5, 7], [3, 2]], [[0, 1, 1, 1], [1, 1]]), TWO),
    "encoding of lists": (encoding(PADDED, MASK), TWO),
    "encoding of arrays": (encoding(PADDED, MASK, np.array), TWO),
    "encoding of JAX's arrays": (encoding(PADDED, MASK, jnp.array), TWO),
    "encoding of tensors": (encoding(PADDED, MASK, Tensor), TWO),
    "encoding of truth values": (encoding(PADDED, np.array(MASK, bool)), TWO),
    "a dictionary": ({"input_ids": PADDED, "attention_mask": MASK, "token_type_ids": MASK}, TWO),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_prompts(form: str) -> None:
    given, lists = FORMS[form]
    found, expected = tokens_from_ids(given, SIZE), Tokens.from_lists(lists)
    assert found.mask.tolist() == expected.mask.tolist()
    assert found.ids.tolist() == expected.ids.tolist()


def test_padding_stays_on_the_side_where_the_tokenizer_puts_it() -> None:
    tokenizer = vocabularies.with_bos(vocabularies.byte_level())
    tokenizer.pad_token = "<|end|>"
    vocabulary = Vocabulary(tokenizer)
    texts = ["The city of Rome", "Rome"]
    for side in ("left", "right"):
        tokenizer.padding_side = side
        for kind in (None, "np"):
            found = tokens_from_ids(tokenizer(texts, padding=True, return_tensors=kind), 400)
            for row, text in enumerate(texts):
                ids, mask = np.asarray(found.ids[row]), np.asarray(found.mask[row])
                assert ids[mask].tolist() == vocabulary.encode(text)
                assert mask[-1 if side == "left" else 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, "a"], "no token 'a'"),
        ([1, 2.0], "no token 2.0"),
        ([True, False], "no token True"),
        ([None], "no token None"),
        ([[1], "a"], "whole numbers"),
        ([10**5000], "a value of type int"),
        (["a", [1]], "whole numbers"),
        ([[[1]]], r"no token \[1\]"),
        ([np.array([[1]])], "a list of whole numbers"),
        (b"ab", "whole numbers"),
        (None, "whole numbers"),
        (3, r"\[batch, position\]"),
        (np.array([[2**32 + 1]]), "no token 4294967297"),
        (np.array([[1.0]]), "not float32"),
        (np.array([["a"]]), "whole numbers"),
        ({"ids": [1]}, "no input_ids"),
        (encoding([[1, 2]], [[1]]), "one shape"),
        (encoding([[1, 2], [3]], [[1], [1]]), "as many numbers"),
        (encoding([[1, 2], [3]], [[0, 0], [1]]), "without any token"),
        (encoding([[1, 2]], [[0, 0]]), "without any token"),
        (encoding([[1, 2]], [[1, 3]]), "1 for tokens and 0 for padding"),
        (encoding([[1.5, 2]], [[1, 1]]), "whole numbers"),
        (encoding([[1, 13]], [[1, 1]]), "no token 13"),
        (encoding([[1, 2**40]], [[1, 1]], np.array), "no token 1099511627776"),
        (encoding([]), "at least one token"),
    ],
)
def test_what_is_no_prompt_is_one_short_sentence(given: Any, message: str) -> None:
    with pytest.raises(LandedError, match=message) as caught:
        tokens_from_ids(given, SIZE)
    assert len(str(caught.value)) < 300


def test_a_tensor_elsewhere_is_one_sentence() -> None:
    class OnAnotherDevice(Tensor):
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    with pytest.raises(LandedError, match="cannot be read as an array: can't convert cuda:0"):
        tokens_from_ids(OnAnotherDevice([[1]]), SIZE)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(SMALL, random_params(SMALL), Vocabulary(vocabularies.words()), "words")


def warned(call: Callable[[], Any]) -> list[str]:
    """The warnings of a call, each of which stands at the line of the call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(issubclass(w.category, PromptWarning) and w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


def test_python_warns_once_of_what_the_command_line_warns_of(model: Model) -> None:
    few = dataclasses.replace(model, config=dataclasses.replace(SMALL, max_positions=3))
    reduction = landed.reduce.layer_sums()
    calls = (few.encode, lambda p: few.trace(p, at=-1), lambda p: few.attribute_streaming(p, reduction, at=-1))
    long = "the prompt has 4 tokens, more than the 3 this model was made for"
    unknown = "not in this model's vocabulary, and read as an unknown word: 'town', 'near'"
    for call in calls:
        assert warned(lambda call=call: call("The town near")) == [f"{long}; {unknown}"]
        assert warned(lambda call=call: call("")) == ["the prompt is empty: the model reads <s> alone"]
        assert warned(lambda call=call: call("Rome")) == warned(lambda call=call: call("<unk> Rome")) == []
    for call in calls[1:]:
        assert warned(lambda call=call: call([1, 2, 3, 4])) == [long]
        assert warned(lambda call=call: call(np.array([[1, 2, 3, 4]]))) == [long]
        assert warned(lambda call=call: call(encoding([[1, 2, 3, 4]], [[0, 1, 1, 1]]))) == []
        assert warned(lambda call=call: call(Tokens.from_lists([[1, 2, 3, 4]]))) == []
    assert warned(lambda: few.encode(["Rome", "Rom"])) == [f"prompt 1: {unknown}".replace("'town', 'near'", "'Rom'")]


def test_a_long_list_of_unknown_words_is_cut(model: Model) -> None:
    (said,) = warned(lambda: model.encode(" ".join(f"{'w' * 90}{i}" for i in range(60)) + " Rome"))
    assert said.endswith("and 48 more") and len(said) < 1000


def test_how_a_text_is_read(model: Model) -> None:
    vocabulary = model.vocabulary
    assert read_text("Rome", vocabulary, SMALL).ids == [1, 5]
    assert read_text("Rome", vocabulary, SMALL, add_special_tokens=False).ids == [5]
    with pytest.raises(LandedError, match="'' becomes no token"):
        read_text("", vocabulary, SMALL, add_special_tokens=False)
    with pytest.raises(LandedError, match="no chat template"):
        read_text("Rome", vocabulary, SMALL, chat=True)
    assert read_ids([1, 5, 4], vocabulary, SMALL).text == vocabulary.decode([1, 5, 4])
    for ids, message in (([], "holds no token id"), ([13], "no token 13"), ([-1], "no token -1")):
        with pytest.raises(LandedError, match=message):
            read_ids(ids, vocabulary, SMALL)


def test_a_text_without_end_is_refused_before_it_is_read(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts_module, "LONGEST", 10)
    assert model.encode("Rome " * 2).ids.shape == (1, 3)
    with pytest.raises(LandedError, match="15 characters"):
        model.trace("Rome " * 3)


def test_a_trace_beyond_the_memory_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "device_memory", lambda: 1 << 22)
    monkeypatch.setattr(model_module, "_LARGE", 1 << 20)
    for prompts in ("Rome " * 20_000, [5] * 20_000, np.full((1, 20_000), 5), Tokens.from_lists([[5] * 20_000])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptWarning)
            with pytest.raises(LandedError, match=r"a trace of 20,00\d tokens take at least .* 4.0 MiB of memory"):
                model.trace(prompts)
