"""Targets as text: one token's exact text, with both families of tokenizers that Llama and Mistral models have."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from landed_jax import LandedError
from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def byte_level() -> Vocabulary:
    """Byte-level BPE, as Llama 3 has, learnt from a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["The city of Rome, a city.", " Rome Rome city café"] * 20, trainer)
    return Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>"))


def every_token_is_its_text(vocabulary: Vocabulary) -> None:
    size = len(vocabulary.tokenizer)
    texts = {token: vocabulary.text(token) for token in range(size)}
    for token, text in texts.items():
        assert text
        assert vocabulary.token_id(f"#{token}") == token
        # Two pieces of one text (a byte and its letter, say) may exist; then the text finds one of them.
        assert texts[vocabulary.token_id(text)] == text


def test_byte_level_round_trip(byte_level: Vocabulary) -> None:
    every_token_is_its_text(byte_level)
    assert byte_level.text(byte_level.token_id(" Rome")) == " Rome"
    assert byte_level.token_id("<|end|>") == 1


def test_sentencepiece_style_round_trip(stories: Path) -> None:
    vocabulary = load_vocabulary(stories)
    assert vocabulary is not None
    every_token_is_its_text(vocabulary)
    assert vocabulary.token_id("</s>") == 2
    assert vocabulary.text(13) == "\n"
    assert vocabulary.token_id("\n") == 13


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
    assert "".join(byte_level.text(i) for i in ids if "Ã" not in byte_level.text(i)) in prompt
