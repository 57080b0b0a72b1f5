"""Targets as text: one token's exact text, with both families of tokenizers that Llama and Mistral models have."""

import pytest
from transformers import PreTrainedTokenizerFast

from landed_jax import LandedError
from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.vocabulary import NumberedTokens, Vocabulary
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


TOKENIZERS = {
    "byte level": lambda: vocabularies.with_bos(vocabularies.byte_level()),
    "byte level, no BOS": vocabularies.byte_level,
    "sentencepiece": vocabularies.sentencepiece_like,
    "words": vocabularies.words,
}
TEXTS = ["The city of Rome", "", " Rome", "<s", "Rome <s> city", "日本 \0 Rome", "The\nRome\n"]


@pytest.fixture(scope="module", params=TOKENIZERS)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return Vocabulary(TOKENIZERS[request.param]())


@pytest.mark.parametrize("text", TEXTS)
def test_special_tokens_are_those_of_transformers(vocabulary: Vocabulary, text: str) -> None:
    tokenizer = vocabulary.tokenizer
    assert vocabulary.encode(text) == tokenizer(text)["input_ids"]
    assert vocabulary.encode(text, add_special_tokens=False) == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_bos_that_a_text_begins_with_is_not_added_again(vocabulary: Vocabulary, text: str, times: int) -> None:
    written = vocabulary.tokenizer.bos_token * times + text
    ids = vocabulary.encode(written)
    bos = vocabulary.tokenizer.bos_token_id
    assert ids[:times] == [bos] * times and ids[times : times + 1] != [bos]
    assert ids == vocabulary.encode(written, add_special_tokens=False)


def test_an_unnamed_bos_is_one_too() -> None:
    tokenizer = vocabularies.with_bos(vocabularies.byte_level())
    unnamed = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer))
    assert unnamed.tokenizer.bos_token_id is None
    assert unnamed.encode("<|begin|>Rome") == unnamed.encode("Rome") == [0, *unnamed.encode("Rome")[1:]]


def test_unknown_words_are_the_users_and_no_token_that_was_meant() -> None:
    vocabulary = Vocabulary(vocabularies.words())
    assert vocabulary.unknown("The town of <unk> Rome <s> 日本") == ["town", "日本"]
    assert vocabulary.unknown("<unk>") == vocabulary.unknown("") == vocabulary.unknown("Rome") == []
    assert Vocabulary(vocabularies.byte_level()).unknown("日本") == []


TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %} [assistant]{% endif %}"


def test_a_chat_is_what_transformers_makes_of_it(vocabulary: Vocabulary) -> None:
    with pytest.raises(LandedError, match="no chat template"):
        vocabulary.chat("Rome")
    tokenizer = vocabulary.tokenizer
    tokenizer.chat_template = TEMPLATE
    try:
        for text in ("The city of Rome", "", "{{ 7 * 7 }} {% raw %}"):
            messages = [{"role": "user", "content": text}]
            asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
            ids = vocabulary.encode(vocabulary.chat(text), add_special_tokens=False)
            assert ids == asked["input_ids"]
            assert ids.count(tokenizer.bos_token_id) == 1
    finally:
        tokenizer.chat_template = None


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('the user\n speaks first') }}", "the user"),
        ("{% for %}", "Expected"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ no_such_thing.x }}", "undefined"),
    ],
)
def test_a_template_that_fails_is_one_sentence(template: str, message: str) -> None:
    vocabulary = Vocabulary(vocabularies.byte_level())
    vocabulary.tokenizer.chat_template = template
    with pytest.raises(LandedError, match=f"chat template failed: .*{message}"):
        vocabulary.chat("Rome")


@pytest.mark.parametrize("text", ["\ud800", "Rome \udcff", "x" * 1000 + "\udfff"], ids=ascii)
def test_what_is_no_unicode_is_quoted_by_its_beginning(byte_level: Vocabulary, text: str) -> None:
    for method in (byte_level.encode, byte_level.chat, byte_level.token_id):
        with pytest.raises(LandedError, match="is not text in UTF-8") as caught:
            method(text)
        assert len(str(caught.value)) < 100


def test_a_long_target_is_shown_by_its_beginning(byte_level: Vocabulary) -> None:
    with pytest.raises(LandedError, match="988 more") as caught:
        byte_level.token_id("q" * 1000)
    assert len(str(caught.value)) < 300


def test_without_a_tokenizer_tokens_are_numbers() -> None:
    numbers = NumberedTokens()
    assert numbers.token_id("#12") == 12 and numbers.text(12) == "#12" and numbers.decode([1, 2]) == "#1 #2"
    for method in (numbers.encode, numbers.chat, numbers.token_id):
        with pytest.raises(LandedError, match="no tokenizer"):
            method("Rome")


@pytest.mark.parametrize("text", ["#", "#-1", "#1 ", "#١", "#" + "9" * 5000, "#²"], ids=lambda text: ascii(text)[:20])
def test_what_is_no_number_names_no_id(text: str) -> None:
    with pytest.raises(LandedError):
        NumberedTokens().token_id(text)


def test_a_byte_is_not_taken_for_the_letter_that_stands_for_it(byte_level: Vocabulary) -> None:
    """Byte-level tokenizers write byte 0xE9 as "é", whose own text is another token or more."""
    byte = byte_level.tokenizer.convert_tokens_to_ids("é")
    assert byte_level.text(byte) == "<0xE9>" and byte_level.token_id("<0xE9>") == byte
    pieces = [byte_level.text(i) for i in byte_level.encode("日")]
    assert pieces == [f"<0x{value:02X}>" for value in "日".encode()]
