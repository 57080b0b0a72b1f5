"""Everything one run says about one position of one prompt, found out in one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from landed_jax.analysis.attribution._attribute import attribute
from landed_jax.analysis.attribution._capped_effects import CappedEffects, capped_effects
from landed_jax.analysis.attribution._layer_effects import layer_effects
from landed_jax.analysis.attribution._result import Attribution
from landed_jax.analysis.basis._coordinates import coordinates
from landed_jax.analysis.reads._questions import Logit, resolve
from landed_jax.analysis.reads._read import Read
from landed_jax.errors import LandedError
from landed_jax.files.json_text import json_text
from landed_jax.memory.estimates import least_bytes, weight_bytes
from landed_jax.memory.host import device_memory
from landed_jax.memory.shortage import require_memory
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.numerics import precision_of
from landed_jax.processes import fetched, gathered
from landed_jax.provenance import Provenance
from landed_jax.report.percents import PERCENTS
from landed_jax.report.prediction import Prediction, predict
from landed_jax.report.question import RunQuestion, ask
from landed_jax.report.section_results import of_one_prompt, section_results
from landed_jax.report.sections.section import Asked, Section
from landed_jax.results.one_prompt import at_position, of_prompt
from landed_jax.results.padding import without_padding
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace
from landed_jax.vocabulary import Vocabulary

if TYPE_CHECKING:
    import os

    import xarray
    from matplotlib.figure import Figure, SubFigure

    from landed_jax.model import Model


RECORD = WRITES | SOURCES | {HookPoint.ATTN_WRITE, HookPoint.MLP_WRITE}
"""The sites that an account is made of."""


@dataclass(frozen=True, repr=False)
class Account:
    """What one run found out: everything that is printed comes from here.

    It shows itself as the tables of `landed run`.

    Attributes:
        position: the column that was read, counted from 0.
        attribution: at that position alone, as NumPy arrays.
        difference: the attribution of the logit difference to the runner-up; None where `attribution` is one already,
            or where there is no other token.
        capped: the direct effects after the cap, in a model whose logits have one; else None.
        layer_effects: ``[layer, 2]``, the direct effects of the whole attention write and of the whole MLP write.
        coordinate_counts: for each of `PERCENTS`, how many coordinates, by size, reach that part of the value.
        prediction: probabilities and rank of the two tokens, and the likeliest tokens.
        sections: for each section that was asked for, its results by their names.
        warnings: sentences for stderr.
        notes: how the model's weights were read where that is not simply what its files say.
        top: how many writes are shown.
    """

    model: str
    prompt: str
    position: int
    token_ids: list[int]
    config: ModelConfig
    vocabulary: Vocabulary
    attribution: Attribution
    difference: Attribution | None
    capped: CappedEffects | None
    layer_effects: np.ndarray
    coordinate_counts: dict[int, int]
    prediction: Prediction
    sections: dict[Section, dict[str, Any]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    top: int = 20

    @property
    def provenance(self) -> Provenance:
        """The prompt, the column, the model."""
        return self.attribution.known

    @property
    def precision(self) -> str:
        """The policy that the numbers were computed under."""
        return precision_of(self.config.bfloat16_products, self.attribution.value.dtype)

    def tokens(self) -> list[str]:
        texts = {token: self.vocabulary.text(token) for token in set(self.token_ids)}
        return [texts[token] for token in self.token_ids]

    def token(self, attribution: Attribution, which: str) -> dict[str, Any] | None:
        """``{"id", "text"}`` of an attribution's target or against."""
        ids = getattr(attribution, which)
        if ids is None:
            return None
        return {"id": int(ids[0, 0]), "text": self.vocabulary.text(int(ids[0, 0]))}

    def to_dict(self) -> dict[str, Any]:
        """The object of ``landed run --json``, as plain values."""
        from landed_jax.report.document import run_document

        return run_document(self, self.top)

    def to_json(self, indent: int | None = 2) -> str:
        """The text of ``landed run --json``; without an indent on one line."""
        return json_text(self.to_dict(), indent=indent)

    def to_xarray(self) -> "xarray.Dataset":
        """The data set of ``landed run --out``: every result, labelled."""
        from landed_jax.report.dataset import run_dataset

        return run_dataset(self)

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write `to_xarray` to one NetCDF file, ``.nc``.

        Raises:
            LandedError: for a path that cannot be written.
        """
        from landed_jax.results.files import save_result

        save_result(self.to_xarray(), path)

    def save_page(self, path: "str | os.PathLike[str]") -> None:
        """Write the account as one HTML page, as ``landed report`` does; sections `detail` and `by_source` fill it.

        Raises:
            LandedError: for a file that cannot be written, and where the extra `page` is not installed.
        """
        from landed_jax.page import save_page

        save_page(path, self.to_dict())

    def __repr__(self) -> str:
        from landed_jax.report.run_report import whole_report
        from landed_jax.tables.draw import text_of
        from landed_jax.tables.screen import standard_output

        return text_of(whole_report(self), standard_output())

    def _repr_html_(self) -> str:
        from landed_jax.plots._notebook import figure_html
        from landed_jax.report.run_report import whole_report
        from landed_jax.tables.html import html_of

        return f"<div>{figure_html(self.attribution)}{html_of(whole_report(self))}</div>"

    def plot(self, **options: Any) -> "Figure | SubFigure":
        """The figure of the attribution: see `landed_jax.plots.plot`."""
        return self.attribution.plot(**options)


def account_for(
    model: "Model",
    prompt: str | Sequence[int],
    *,
    target: str | None = None,
    against: str | None = None,
    position: int = -1,
    sections: Sequence[Section] = (),
    bucketed: bool = False,
    top: int = 20,
) -> Account:
    """Trace a prompt at one position and attribute the target's logit, or its difference to `against`.

    Args:
        prompt: text, or token ids.
        target, against: a token's text, or ``#ID``; the default target is the most likely next token.
        position: a column of the tokens; negative from the end.
        sections: what else to find out, in the order in which it is shown.
        bucketed, top: as for `answer`.

    Raises:
        LandedError: as `ask` and `answer` do.
    """
    question = ask(model, prompt, target=target, against=against, position=position)
    return answer(model, question, sections=sections, bucketed=bucketed, top=top)


def answer(
    model: "Model",
    question: RunQuestion,
    *,
    sections: Sequence[Section] = (),
    bucketed: bool = False,
    top: int = 20,
    stage: Callable[[str], None] = lambda _: None,
) -> Account:
    """The account of a question: one pass, and one program that finds out everything.

    Args:
        sections, bucketed, top, stage: as for `answer_together`.

    Raises:
        LandedError: as `answer_together` does.
    """
    how: dict[str, Any] = {"sections": sections, "bucketed": bucketed, "top": top, "stage": stage}
    return answer_together(model, [question], **how)[0]


def answer_together(
    model: "Model",
    questions: Sequence[RunQuestion],
    *,
    sections: Sequence[Section] = (),
    bucketed: bool = False,
    top: int = 20,
    stage: Callable[[str], None] = lambda _: None,
) -> list[Account]:
    """The accounts of several prompts in one pass, which reads the weights once: each to rounding as by itself.

    Args:
        questions: of which `together` is true.
        sections: what else to find out, in the order in which it is shown.
        bucketed: compute with the prompts padded (`Tokens.bucketed`), so that prompts of about the same length share
            their compiled programs. The accounts show nothing of the padding.
        top: how many writes an account shows.
        stage: called with a few words before each of the long steps.

    Raises:
        LandedError: for prompts that do not fit into memory, or numbers that overflow.
    """
    tokens = Tokens.from_lists([question.prompt.ids for question in questions])
    computed = tokens.bucketed() if bucketed else tokens
    length = computed.ids.shape[1]
    weights = weight_bytes(model.params)
    least = least_bytes(model.config, weights, length)
    require_memory(least, device_memory(), f"This model and a prompt of {tokens.ids.shape[1]} tokens")
    stage(f"Compiling the forward pass of {model.config.n_layers} layers, or reading it from the cache")
    record = RECORD.union(*(section.record for section in sections))
    trace = model.trace(computed, record=record, at=[length - questions[0].from_end])
    stage("Compiling the attribution, or reading it from the cache")
    # Out of JAX in one go: indexing device arrays one by one would compile a program for each.
    asked, made = find_out(trace, *(_ids(questions, which) for which in ("target", "against")))
    found = fetched(made)
    check_finite(found[0].value)
    if sections:
        stage(f"Compiling {', '.join(section.option for section in sections)}, or reading it from the cache")
    more, logits = section_results(Asked(trace, *asked), tuple(sections)), np.asarray(gathered(trace.logits))
    return [
        account_of_place(model, question, (number, 0), length - len(question.prompt.ids), found, logits, more, top)
        for number, question in enumerate(questions)
    ]


def together(one: RunQuestion, other: RunQuestion) -> bool:
    """Whether two questions can be answered in one pass: of the same column from the end, and asked alike."""
    pairs = ((one.target, other.target), (one.against, other.against))
    return one.from_end == other.from_end and all((a is None) == (b is None) for a, b in pairs)


def _ids(questions: Sequence[RunQuestion], which: str) -> Any:
    ids = [getattr(question, which) for question in questions]
    return None if ids[0] is None else np.array(ids, np.int32)


def check_finite(value: np.ndarray) -> None:
    """Refuse logits that are none.

    Raises:
        LandedError: with one of them.
    """
    if not np.isfinite(value).all():
        logit = float(value[~np.isfinite(value)][0])
        raise LandedError(f"The logit is {logit}: somewhere in this model float32 overflows.")


def account_of_place(
    model: "Model",
    question: RunQuestion,
    place: tuple[int, int],
    padding: int,
    found: tuple[Any, ...],
    logits: np.ndarray,
    more: dict[Section, dict[str, Any]],
    top: int,
) -> Account:
    """One prompt's account at one position, from what was found out of all.

    Args:
        place: the prompt, and which of the recorded positions.
        padding: how many columns of padding stand before this prompt.
        found: what `find_out` gives, as NumPy arrays.
    """
    number, position = place
    attribution, difference, capped = (
        without_padding(at_position(of_prompt(part, number), position), padding)
        for part in (found[0], found[1], found[4])
    )
    assert attribution is not None
    return Account(
        model=model.source,
        prompt=question.prompt.text,
        position=question.position,
        token_ids=question.prompt.ids,
        config=model.config,
        vocabulary=question.vocabulary,
        attribution=attribution,
        difference=difference,
        capped=capped,
        layer_effects=found[3][..., number, position],
        coordinate_counts=dict(zip(PERCENTS, (int(n[place]) for n in found[2]), strict=True)),
        prediction=_prediction(logits[place], attribution),
        sections={section: of_one_prompt(section, results, number, padding) for section, results in more.items()},
        warnings=question.prompt.warnings,
        notes=model.notes,
        top=top,
    )


@by_layers
def find_out(
    trace: Trace, target: Int[Array, "..."] | None, against: Int[Array, "..."] | None
) -> tuple[tuple[Read, Read | None], tuple[Any, ...]]:
    """The question and the difference to the runner-up, resolved; and what every run says of them, in one program.

    Args:
        target, against: one a prompt, ``[batch]``, or one a recorded position, ``[batch, position]``.
    """
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
    effects = jnp.stack([by_layer.attn_effect, by_layer.mlp_effect], axis=1)
    capped = None
    if trace.config.logit_cap is not None:
        capped = capped_effects(trace, Logit(question.target, against=question.against))
    return (question, difference), (attribution, beside, counts, effects, capped)


def _prediction(logits: np.ndarray, attribution: Attribution) -> Prediction:
    asked = [int(ids[0, 0]) for ids in (attribution.target, attribution.against) if ids is not None]
    return predict(logits, asked)
