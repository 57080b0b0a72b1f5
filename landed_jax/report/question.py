"""What one run is asked: everything that the user wrote, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landed_jax.errors import LandedError
from landed_jax.prompts import Prompt, read_ids, read_text
from landed_jax.vocabulary import NumberedTokens, Vocabulary

if TYPE_CHECKING:
    from landed_jax.model import Model


@dataclass(frozen=True)
class RunQuestion:
    """A prompt, the tokens that are asked for, and the column that is read.

    Attributes:
        target, against: ids, or None.
        position: counted from 0.
        vocabulary: the model's, or what stands in for it.
    """

    prompt: Prompt
    target: int | None
    against: int | None
    position: int
    vocabulary: Vocabulary

    @property
    def from_end(self) -> int:
        """How many columns there are from the one that is read to the end; 1 for the last."""
        return len(self.prompt.ids) - self.position


def ask(
    model: "Model",
    prompt: str | Sequence[int],
    *,
    target: str | None = None,
    against: str | None = None,
    position: int = -1,
    add_special_tokens: bool = True,
    chat: bool = False,
) -> RunQuestion:
    """A run's question.

    Args:
        prompt: text, or token ids.
        target, against: a token's text, or ``#ID``.
        position: a column of the prompt; negative from the end.
        add_special_tokens, chat: how text is read; as for `read_text`.

    Raises:
        LandedError: for a text that is not one token, a position outside the prompt, tokens that the model does not
            have, or text where it has no tokenizer.
    """
    if model.vocabulary is None and isinstance(prompt, str):
        raise LandedError(f"{model.no_vocabulary or 'This model has no tokenizer.'} Give token ids (--ids).")
    vocabulary, config = model.vocabulary or NumberedTokens(), model.config
    asked, other = (None if text is None else vocabulary.token_id(text) for text in (target, against))
    for token in (asked, other):
        if token is not None and token >= config.vocab_size:
            raise LandedError(f"There is no token #{token}: this model's ids run to {config.vocab_size - 1}.")
    if asked is not None and asked == other:
        raise LandedError("--target and --against are the same token: their difference is 0.")
    if isinstance(prompt, str):
        read = read_text(prompt, vocabulary, config, add_special_tokens=add_special_tokens, chat=chat)
    else:
        read = read_ids(prompt, vocabulary, config)
    length = len(read.ids)
    if not -length <= position < length:
        raise LandedError(f"Position {position} is outside the prompt, which has {length} tokens.")
    return RunQuestion(read, asked, other, position % length, vocabulary)
