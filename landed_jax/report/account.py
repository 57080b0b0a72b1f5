"""Everything one run says about one position of one prompt, found out in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._layer_effects import layer_effects
from landed_jax.analysis.attribution._result import Attribution
from landed_jax.analysis.basis._coordinates import coordinates
from landed_jax.analysis.reads._questions import Logit, resolve
from landed_jax.analysis.reads._read import Read
from landed_jax.errors import LandedError
from landed_jax.memory.estimates import least_bytes, weight_bytes
from landed_jax.memory.host import device_memory
from landed_jax.memory.shortage import require_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.provenance import Provenance
from landed_jax.report.padding import without_padding
from landed_jax.report.percents import PERCENTS
from landed_jax.report.section_results import section_results
from landed_jax.report.sections.section import Asked, Section
from landed_jax.trace import Trace
from landed_jax.vocabulary import Vocabulary

if TYPE_CHECKING:
    from landed_jax.model import Model


@dataclass(frozen=True)
class Account:
    """What one run found out: everything that is printed comes from here.

    Attributes:
        position: the column that was read, counted from 0.
        attribution: at that position alone, as NumPy arrays.
        difference: the attribution of the logit difference to the runner-up; None where `attribution` is one already,
            or where there is no other token.
        layer_effects: ``[layer, 2]``, the direct effects of the whole attention write and of the whole MLP write.
        coordinate_counts: for each of `PERCENTS`, how many coordinates, by size, reach that part of the value.
        sections: for each section that was asked for, its results by their names.
        warnings: sentences for stderr.
    """

    model: str
    prompt: str
    position: int
    token_ids: list[int]
    config: ModelConfig
    vocabulary: Vocabulary
    attribution: Attribution
    difference: Attribution | None
    layer_effects: np.ndarray
    coordinate_counts: dict[int, int]
    sections: dict[Section, dict[str, Any]]
    warnings: tuple[str, ...]

    @property
    def provenance(self) -> Provenance:
        """The prompt, the column, the model."""
        return self.attribution.known

    def tokens(self) -> list[str]:
        return [self.vocabulary.text(i) for i in self.token_ids]

    def token(self, attribution: Attribution, which: str) -> dict[str, Any] | None:
        """``{"id", "text"}`` of an attribution's target or against."""
        ids = getattr(attribution, which)
        if ids is None:
            return None
        return {"id": int(ids[0, 0]), "text": self.vocabulary.text(int(ids[0, 0]))}


def account_for(
    model: "Model",
    prompt: str,
    *,
    target: str | None = None,
    against: str | None = None,
    position: int = -1,
    sections: Sequence[Section] = (),
    bucketed: bool = False,
) -> Account:
    """Trace a prompt at one position and attribute the target's logit, or its difference to `against`.

    Args:
        target, against: a token's text, or ``#ID``; the default target is the most likely next token.
        position: a column of the tokens; negative from the end.
        sections: what else to find out, in the order in which it is shown.
        bucketed: compute with the prompt padded (`Tokens.bucketed`), so that prompts of about the same length share
            their compiled programs. The account shows nothing of the padding.

    Raises:
        LandedError: for a text that is not one token, a position outside the prompt, or a model without a tokenizer.
    """
    if model.vocabulary is None:
        raise LandedError(f"{model.source} has no tokenizer files, so it cannot read a prompt.")
    # Everything the user wrote is checked before anything is computed.
    for text in (prompt, target, against):
        _check_text(text)
    ids = [None if text is None else model.vocabulary.token_id(text) for text in (target, against)]
    for token in ids:
        if token is not None and token >= model.config.vocab_size:
            raise LandedError(f"There is no token #{token}: this model's ids run to {model.config.vocab_size - 1}.")
    if ids[0] is not None and ids[0] == ids[1]:
        raise LandedError("--target and --against are the same token: their difference is 0.")
    tokens = model.encode(prompt)
    length = tokens.ids.shape[1]
    if not -length <= position < length:
        raise LandedError(f"Position {position} is outside the prompt, which has {length} tokens.")
    computed = tokens.bucketed() if bucketed else tokens
    padding = computed.ids.shape[1] - length
    weights = weight_bytes(model.params)
    least = least_bytes(model.config, weights, computed.ids.shape[1])
    require_memory(least, device_memory(), f"This model and a prompt of {length} tokens")
    record = WRITES | SOURCES | {HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE}
    record = record.union(*(section.record for section in sections))
    trace = model.trace(computed, record=record, at=[position % length + padding])
    # Out of JAX in one go: indexing device arrays one by one would compile a program for each.
    asked, made = _find_out(trace, *ids)
    found = without_padding(jax.device_get(made), padding)
    if not np.isfinite(found[0].value).all():
        raise LandedError(f"The logit is {float(found[0].value[0, 0])}: somewhere in this model float32 overflows.")
    limit = trace.config.max_positions
    warnings = []
    if length > limit:
        warnings.append(f"the prompt has {length} tokens, more than the {limit} this model was made for")
    if unknown := model.vocabulary.unknown(prompt):
        named = ", ".join(repr(word) for word in unknown)
        warnings.append(f"not in this model's vocabulary, and read as an unknown word: {named}")
    return Account(
        model=model.source,
        prompt=prompt,
        position=position % length,
        token_ids=np.asarray(tokens.ids)[0].tolist(),
        config=trace.config,
        vocabulary=model.vocabulary,
        attribution=found[0],
        difference=found[1],
        layer_effects=found[3],
        coordinate_counts=dict(zip(PERCENTS, (int(n[0, 0]) for n in found[2]), strict=True)),
        sections=section_results(Asked(trace, *asked), tuple(sections), padding),
        warnings=tuple(warnings),
    )


@by_layers
def _find_out(
    trace: Trace, target: int | None, against: int | None
) -> tuple[tuple[Read, Read | None], tuple[Any, ...]]:
    """The question and the difference to the runner-up, resolved; and what every run says of them, in one program."""
    question = difference = resolve(trace, Logit(target, against=against))
    if against is None:
        difference = None
        if trace.config.vocab_size > 1 and trace.logits is not None:
            one_hot = jax.nn.one_hot(question.target, trace.config.vocab_size, dtype=bool)
            runner_up = jnp.argmax(jnp.where(one_hot, -jnp.inf, trace.logits), axis=-1)
            difference = resolve(trace, Logit(question.target, against=runner_up))
    attribution = attribute(trace, question)
    beside = None if difference is None or against is not None else attribute(trace, difference)
    carried = coordinates(trace, question)
    counts = [carried.count(percent / 100) for percent in PERCENTS]
    by_layer = layer_effects(trace, question)
    effects = jnp.stack([by_layer.attn_effect[:, 0, 0], by_layer.mlp_effect[:, 0, 0]], axis=1)
    return (question, difference), (attribution, beside, counts, effects)


def _check_text(text: str | None) -> None:
    try:
        (text or "").encode("utf-8")
    except UnicodeEncodeError:
        raise LandedError(f"{text!r} is not text in UTF-8.") from None
