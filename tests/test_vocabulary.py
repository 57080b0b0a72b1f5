"""Targets as text: one token's exact text, with both families of tokenizers that Llama and Mistral models have."""

import pytest

from landed_jax import LandedError
from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.vocabulary import Vocabulary
from tests import vocabularies


@pytest.fixture(scope="module")
def byte_level() -> Vocabulary:
    return Vocabulary(vocabularies.byte_level())


def every_token_is_its_text(vocabulary: Vocabulary) -> None:
    size = len(vocabulary.tokenizer)
    texts = {token: vocabulary.text(token) for token in range(size)}
    for token, text in texts.items():
        assert text
        assert vocabulary.token_id(f"#{token}") == token
        # Two pieces of one text (a byte and its letter, say) may exist; then the text finds one of them.
        assert texts[vocabulary.token_id(text)] == text


@pytest.mark.quick
def test_byte_level_round_trip(byte_level: Vocabulary) -> None:
    every_token_is_its_text(byte_level)
    assert byte_level.text(byte_level.token_id(" Rome")) == " Rome"
    assert byte_level.token_id("<|end|>") == 1


@pytest.mark.parametrize("name", ["small", "stories"])  # the second was learnt by SentencePiece itself
def test_sentencepiece_style_round_trip(name: str, request: pytest.FixtureRequest) -> None:
    if name == "stories":
        vocabulary = load_vocabulary(request.getfixturevalue("stories"))
    else:
        vocabulary = Vocabulary(vocabularies.sentencepiece_like())
    assert vocabulary is not None
    every_token_is_its_text(vocabulary)
    assert vocabulary.token_id("</s>") == 2
    assert vocabulary.text(13) == "\n"
    assert vocabulary.token_id("\n") == 13


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" Rome and", r"not one token but"),
        ("Rome", r"Did you mean ' Rome', with the space\?"),
        ("", "at least one character"),
        ("日本", "not one token but 6"),
    ],
)
def test_what_is_not_one_token_says_how_it_splits(byte_level: Vocabulary, text: str, message: str) -> None:
    with pytest.raises(LandedError, match=message):
        byte_level.token_id(text)


def test_a_prompt_in_pieces_is_the_prompt(byte_level: Vocabulary) -> None:
    prompt = "The city of Rome, a café."
    ids = byte_level.encode(prompt)
    assert byte_level.decode(ids) == prompt
    assert "".join(byte_level.text(i) for i in ids if "<0x" not in byte_level.text(i)) in prompt


def test_a_byte_is_not_taken_for_the_letter_that_stands_for_it(byte_level: Vocabulary) -> None:
    """Byte-level tokenizers write byte 0xE9 as "é", whose own text is another token or more."""
    byte = byte_level.tokenizer.convert_tokens_to_ids("é")
    assert byte_level.text(byte) == "<0xE9>" and byte_level.token_id("<0xE9>") == byte
    pieces = [byte_level.text(i) for i in byte_level.encode("日")]
    assert pieces == [f"<0x{value:02X}>" for value in "日".encode()]
