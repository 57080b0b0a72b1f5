import pytest

from landed_jax.errors import LandedError
from landed_jax.testbed.tokenizer import build_tokenizer
from landed_jax.vocabulary import Vocabulary

PROMPT = "The Colosseum is in the city of"


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(build_tokenizer(64))


@pytest.mark.parametrize(
    "typed", [f"{PROMPT} ", f"  {PROMPT}", PROMPT.replace(" ", "  "), PROMPT.replace(" in", "\nin"), f"{PROMPT}\n"]
)
def test_spaces_are_forgiven(typed: str, vocabulary: Vocabulary) -> None:
    assert vocabulary.encode(typed) == vocabulary.encode(PROMPT)
    assert not vocabulary.unknown(typed)


@pytest.mark.parametrize("typed", ["Rome.", "Rome .", "Mary, and", "Mary , and"])
def test_punctuation_may_stand_apart(typed: str, vocabulary: Vocabulary) -> None:
    assert not vocabulary.unknown(typed)


def test_unknown_words_are_named(vocabulary: Vocabulary) -> None:
    assert vocabulary.unknown("The Qwerty is in, Zxcv of") == ["Qwerty", "Zxcv"]


@pytest.mark.quick
def test_targets(vocabulary: Vocabulary) -> None:
    assert vocabulary.text(vocabulary.token_id(" Rome")) == " Rome"
    assert vocabulary.text(vocabulary.token_id(".")) == "."
    with pytest.raises(LandedError, match="Did you mean ' Rome', with the space"):
        vocabulary.token_id("Rome")
    with pytest.raises(LandedError, match="'Qwerty' is not in this vocabulary"):
        vocabulary.token_id(" Qwerty")
    with pytest.raises(LandedError, match="not one token but 2"):
        vocabulary.token_id(" Rome is")
