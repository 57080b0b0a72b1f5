"""What a model went on with: the tokens, their logits, why they end; and the account of each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.files.json_text import json_text
from landed_jax.nn.intervention import Intervention
from landed_jax.tokens import Tokens, rows_of
from landed_jax.vocabulary import NumberedTokens, Vocabulary

if TYPE_CHECKING:  # they stand above this module
    from landed_jax.model import Model
    from landed_jax.report.generated import GeneratedAccount

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, eq=False, repr=False)
class Generation:
    """What was generated behind each prompt. `Model.generate` makes it; it shows itself as text.

    Attributes:
        model: which generated.
        prompts: ``[batch, position]``, padded on the left.
        written: each prompt as it was written; of ids, what they say.
        ids: of each prompt what was generated, at least one token; a stop token that ended it is the last.
        logits: of each prompt the logits of these tokens, before any temperature.
        finish_reasons: of each prompt ``stop``, where a stop token came, or ``length``.
        temperature, seed: how tokens were drawn; at temperature 0 each was the likeliest.
        interventions: as they took part in every step: columns are counted from 0.
    """

    model: "Model"
    prompts: Tokens
    written: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    logits: tuple[np.ndarray, ...]
    finish_reasons: tuple[FinishReason, ...]
    temperature: float = 0.0
    seed: int = 0
    interventions: tuple[Intervention, ...] = ()

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's; without a tokenizer what stands in for it."""
        return self.model.vocabulary or NumberedTokens()

    @property
    def texts(self) -> list[str]:
        """What was generated behind each prompt, without the stop token that ended it."""
        return [self._text(prompt) for prompt in range(len(self.ids))]

    @property
    def text(self) -> str:
        """What was generated behind the only prompt.

        Raises:
            LandedError: where there are several.
        """
        return self._text(self._only())

    @property
    def finish_reason(self) -> FinishReason:
        """Why the only prompt's text ends.

        Raises:
            LandedError: where there are several.
        """
        return self.finish_reasons[self._only()]

    @property
    def tokens(self) -> Tokens:
        """Prompts and what was generated, ``[batch, position]``; behind a text that ended before others is padding."""
        longest, count = max(map(len, self.ids)), len(self.ids)
        ids, mask = np.zeros((count, longest), np.int32), np.zeros((count, longest), bool)
        for row, generated in enumerate(self.ids):
            ids[row, : len(generated)], mask[row, : len(generated)] = generated, True
        both = (np.asarray(self.prompts.ids), ids), (np.asarray(self.prompts.mask), mask)
        return Tokens(*jax.device_put(tuple(np.concatenate(part, axis=1) for part in both)))

    def account(self, prompt: int | None = None, *, top: int = 3) -> "GeneratedAccount":
        """What each token generated behind a prompt came from, by one traced pass over all prompts and their tokens.

        Args:
            prompt: which one; by default the only one.
            top: how many writes are shown of each token.

        Raises:
            LandedError: for a prompt that is not there, none named where there are several, and what `trace` refuses.

        >>> from landed_jax import load
        >>> found = load().generate("The Colosseum is in the city of", 2).account(top=1)
        >>> [account.token(account.attribution, "target")["text"] for account in found.accounts]
        [' Rome', '.']
        """
        from landed_jax.report.generated import account_of

        number = self._only() if prompt is None else prompt
        if not 0 <= number < len(self.ids):
            raise LandedError(f"There is no prompt {number}: there are {len(self.ids)}.")
        return account_of(self, number, top)

    def to_dict(self) -> dict[str, Any]:
        """Prompts, tokens and logits as plain values; `account` adds what each token came from."""
        rows = zip(
            self.written, rows_of(self.prompts), self.ids, self.logits, self.finish_reasons, self.texts, strict=True
        )
        return {
            "model": self.model.source,
            "temperature": self.temperature,
            "seed": self.seed,
            "generations": [
                {
                    "prompt": written,
                    "token_ids": prompt,
                    "text": text,
                    "finish_reason": reason,
                    "generated": [
                        {"position": len(prompt) + i, "id": one, "text": self.vocabulary.text(one), "logit": logit}
                        for i, (one, logit) in enumerate(zip(ids, logits.tolist(), strict=True))
                    ],
                }
                for written, prompt, ids, logits, reason, text in rows
            ],
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The text of `to_dict`; without an indent on one line."""
        return json_text(self.to_dict(), indent=indent)

    def _text(self, prompt: int) -> str:
        before, ids = rows_of(self.prompts)[prompt], self.ids[prompt]
        generated = ids[:-1] if self.finish_reasons[prompt] == "stop" else ids
        # As the prompt goes on: alone, many tokenizers would leave out the first token's space.
        start, whole = self.vocabulary.decode(before), self.vocabulary.decode([*before, *generated])
        return whole[len(start) :] if whole.startswith(start) else self.vocabulary.decode(generated)

    def _only(self) -> int:
        if len(self.ids) != 1:
            raise LandedError(f"There are {len(self.ids)} prompts: say which, counted from 0.")
        return 0

    def __repr__(self) -> str:
        from landed_jax.report.generated import generation_report
        from landed_jax.tables.draw import text_of
        from landed_jax.tables.screen import standard_output

        return text_of(generation_report(self), standard_output())

    def _repr_html_(self) -> str:
        from landed_jax.report.generated import generation_report
        from landed_jax.tables.html import html_of

        return html_of(generation_report(self))
