"""`Model`: config, weights and tokenizer, with methods to encode text, trace a forward pass and account for a logit."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from landed_jax.analysis.reads._questions import Logit, QuestionLike, as_question
from landed_jax.analysis.reads._targets import Target
from landed_jax.analysis.reduce._reductions import Reduction
from landed_jax.analysis.streaming._attribute_streaming import (
    StreamedAttribution,
    check_reduction,
    number_of_passes,
)
from landed_jax.checkpoints.native import save_native
from landed_jax.checkpoints.notes import Notes
from landed_jax.checkpoints.trainers.described import ConfigLike, described
from landed_jax.checkpoints.trainers.reading import params_from
from landed_jax.files.kinds import expanded
from landed_jax.memory.estimates import trace_bytes, weight_bytes
from landed_jax.memory.host import device_memory
from landed_jax.memory.shortage import require_memory
from landed_jax.model_programs import jitted_forward, jitted_streaming
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.nn.intervention import Interventions, checked
from landed_jax.nn.parameters import Params, count_parameters
from landed_jax.nn.sharding import beside
from landed_jax.nn.tap import Edit, Observer, as_plan
from landed_jax.nn.weight_norms import WeightNorms
from landed_jax.numerics import check_precision, compute_dtype
from landed_jax.printable import printable
from landed_jax.prompts import read_prompts, texts_of, warn_of
from landed_jax.provenance import Provenance
from landed_jax.shapes import shapes_of, tree_html
from landed_jax.tokens import Tokens, columns
from landed_jax.trace import Trace
from landed_jax.trace_padding import is_on_one_device, shifted, without_padding
from landed_jax.vocabulary import Vocabulary

if TYPE_CHECKING:  # stands above this module
    from landed_jax.generation._generation import Generation
    from landed_jax.report.account import Account

Prompts = (
    Tokens | str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Any] | jax.Array | np.ndarray
)
"""One prompt or several: text, token ids, `Tokens`, or what a tokenizer of `transformers` returns."""


_LARGE = 1 << 27  # bytes: a smaller trace is cut out of a padded one, and is far from filling a memory


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model's facts, weights and tokenizer.

    Attributes:
        params: the weights as the checkpoint has them.
        vocabulary: the tokenizer; None where the checkpoint has none.
        source: the argument of `load`.
        folder: the folder it was read from.
        notes: how it was read where that is not simply what its files say; results record them.
        no_vocabulary: why there is no tokenizer; "" where there is one.

    >>> from landed_jax.nn.parameters import init_params
    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> model = Model(config, init_params(config, jax.random.key(0)))
    >>> model.trace([[1, 5, 7], [3]], at=-1).logits.shape
    (2, 1, 11)
    """

    config: ModelConfig
    params: Params
    vocabulary: Vocabulary | None = None
    source: str = ""
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    no_vocabulary: str = ""

    def __repr__(self) -> str:
        config = self.config
        size = f"{config.n_layers} layers, d_model {config.d_model}, {config.n_heads} heads, d_ff {config.d_ff}"
        return (
            f"Model({', '.join(filter(None, [printable(self.source), size]))}, {count_parameters(config):,} parameters)"
        )

    def _repr_html_(self) -> str | None:
        """What a notebook shows: a tree of the parameters' shapes, by treescope; no weight is read."""
        return tree_html({repr(self): shapes_of(self.params)})

    @classmethod
    def from_params(
        cls, config: ConfigLike, params: Any, *, tokenizer: str | os.PathLike[str] | None = None
    ) -> "Model":
        """A model of the parameters that a training program holds.

        Read are trees of MaxText, tunix, Flax's examples and bonsai, and this package's own in either layout; which
        one it is, is told by the names. Names, shapes and types are checked in full; values are not looked at. Leaves
        are transposed and reshaped where they lie, and keep their type and their sharding; what a program folds into
        a weight (a query's scale, for example) is taken out again, in float32 or wider. Under ``jit`` it is a pure
        function of the arrays: ``Model.from_params(config, state).params`` goes into `forward`.

        Args:
            config: the architecture: a `ModelConfig`; the fields of a config.json; or a folder or Hugging Face id,
                of which nothing but config.json and the tokenizer is read.
            params: a pytree of arrays: nested mappings and lists, an ``nnx.State``, or a flat mapping of paths. Scanned
                layers become stacked ones.
            tokenizer: a folder or Hugging Face id whose tokenizer reads text; by default that of `config`.

        Raises:
            LandedError: for a config that is not supported, or a tree that is of no kind that is known.
            Refusal: with everything that is missing, left over, misshapen, of another type or not to be told.

        >>> from landed_jax.nn.parameters import init_params
        >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
        >>> Model.from_params(config, init_params(config, jax.random.key(0))).notes
        ('the parameters were given as a tree of landed_jax (one subtree a layer)',)
        """
        notes = Notes()
        known = described(config, tokenizer, notes)
        leaves, source = params_from(known.config, params)
        notes.give_warnings()
        notes.add(f"the parameters were given as a tree of {source.name}")
        name = "" if isinstance(config, ModelConfig | Mapping) else str(config)
        return cls(known.config, leaves, known.vocabulary, name, known.folder, tuple(notes.texts), known.no_vocabulary)

    def with_precision(self, precision: str) -> "Model":
        """The same weights, run under another precision; analyses and sums are in the stream's type under each.

        Args:
            precision: ``float32``: products at JAX's highest precision. ``bfloat16``: the layers' products round both
                factors to bfloat16 and sum in the stream's type, on every platform alike; the unembedding and experts'
                routers stay as they are. ``float64``: needs ``JAX_ENABLE_X64=1``, which alone makes it the default.

        Raises:
            LandedError: for another, and where JAX computes in another type.

        >>> import landed_jax as landed
        >>> trace = landed.load().with_precision("bfloat16").trace("The Colosseum is in the city of")
        >>> trace.sigma.dtype, landed.scale.amplification(trace).to_xarray().attrs["precision"]
        (dtype('float32'), 'bfloat16')
        """
        check_precision(precision)
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, bfloat16_products=precision == "bfloat16")
        )

    def encode(self, text: str | Sequence[str]) -> Tokens:
        """One prompt, or several: shorter ones are padded on the left, so that each ends at the last column.

        Special tokens are added as in `transformers` (in most models a BOS), and never a second BOS: see
        `Vocabulary.encode`. For other ways pass `Tokens.from_lists([model.vocabulary.encode(…)])`.

        Raises:
            LandedError: if the model has no tokenizer, or a prompt has no token.

        Warns:
            PromptWarning: for a prompt that is empty, has unknown words, or is longer than the model was made for.
        """
        texts = [text] if isinstance(text, str) else list(text)
        tokens, said = self._read(texts)
        warn_of(said)
        return tokens

    def trace(
        self,
        tokens: Prompts,
        *,
        record: Iterable[HookPoint] = WRITES,
        at: int | Sequence[int] | jax.Array | None = None,
        interventions: Interventions = (),
        edits: Mapping[HookPoint, Edit] | None = None,
        observers: Mapping[str, Observer] | None = None,
        dtype: Any = None,
    ) -> Trace:
        """One jitted forward pass, recorded, with its logits and bound to the weights.

        Prompts given as text or as lists of ids are computed with padding up to a `bucket_length`, so that prompts of
        about the same length share one compiled program. Nothing of the padding is left in the trace, and the numbers
        are those without it to the rounding of float sums. `Tokens` and arrays are computed in the shape they have; so
        is a pass with `interventions`, `edits` or `observers`, which see the columns, and a trace of more than 128 MiB.

        Args:
            tokens: a prompt, or several; one prompt's ids, a list of such, or an array ``[batch, position]``; `Tokens`;
                or what a tokenizer of `transformers` returns (``input_ids`` and ``attention_mask``).
            record: the sites to record; by default what the landed writes need.
            at: the columns to record and to compute logits for, from the left or (negative) from the right; by
                default all. Another choice of as many columns does not compile again.
            interventions: what is changed, as data (`landed.intervene`). Another head, layer, position or value does
                not compile again.
            edits: for a site, ``edit(value, layer) -> value``; see `forward`.
            observers: functions of one layer's writes, whose results are in ``trace.observed``; see `forward`. A
                new function object compiles a new program.
            dtype: float32 or float64; by default JAX's default float.

        Raises:
            LandedError: for ids or columns out of range, ids of the wrong shape, text without a tokenizer, or a trace
                that is larger than this machine's memory.

        Warns:
            PromptWarning: as `encode`; of ids, where they are more than the model was made for. Not of `Tokens`.
        """
        prompts, said = self._read(tokens)
        warn_of(said)
        at = None if at is None else columns(at, prompts.ids.shape[1])
        plan, dtype = as_plan(self.config, record, edits, observers), compute_dtype(dtype)
        batch, length = prompts.ids.shape
        positions = length if at is None else min(at.size, length)
        kept = trace_bytes(
            self.config, batch=batch, length=length, positions=positions, record=plan.record, dtype=dtype
        )
        size = sum(kept.values())
        if size > _LARGE and is_on_one_device(self.params):
            least = size + weight_bytes(self.params)
            require_memory(least, device_memory(), f"This model and a trace of {prompts.ids.size:,} tokens")
        # The shape of tokens and arrays is the caller's choice; interventions, edits and observers see the columns.
        changes = checked(interventions, self.config, batch, length)
        chosen = isinstance(tokens, Tokens | jax.Array | np.ndarray) or changes or plan.edits or plan.observers
        computed = prompts if chosen or size > _LARGE else prompts.bucketed()
        padding = computed.ids.shape[1] - prompts.ids.shape[1]
        recorded = at if at is None or not padding else shifted(at, padding)
        how: dict[str, Any] = {"config": self.config, "plan": plan, "dtype": dtype}
        computed = beside(self.params, computed)
        logits, trace = jitted_forward(self.params, computed, recorded, changes, **how)
        trace = dataclasses.replace(trace, logits=logits)
        trace = without_padding(trace, prompts, at) if padding else trace
        return trace.bind(self.params, self.vocabulary, self.source, self.notes)

    def attribute_streaming(
        self,
        tokens: Prompts,
        reduction: Reduction,
        question: QuestionLike = None,
        against: Target | None = None,
        *,
        effects: bool = False,
        at: int | Sequence[int] | jax.Array | None = None,
        edits: Mapping[HookPoint, Edit] | None = None,
        dtype: Any = None,
        passes: Literal[1, 2] | None = None,
        norms: WeightNorms | None = None,
    ) -> StreamedAttribution:
        """Every write's share of every position's logit, reduced layer by layer as the model runs; jitted.

        See `landed_jax.attribute_streaming`; targets may be text here. A new `reduction` object compiles a
        new program.

        Raises:
            LandedError: as `trace` and `attribute` do.

        >>> from landed_jax.analysis.reduce import top_writes
        >>> from landed_jax import load
        >>> model = load()
        >>> found = model.attribute_streaming("The Colosseum is in the city of", top_writes(3), effects=True)
        >>> found.reduced.landed.shape, found.value.shape
        ((3,), (1, 8))
        """
        check_reduction(reduction)
        asked = as_question(question, against)
        asked = asked.in_ids(self.vocabulary, self.config) if isinstance(asked, Logit) else asked
        tokens, said = self._read(tokens)
        warn_of(said)
        at = None if at is None else columns(at, tokens.ids.shape[1])
        # Outside of jit, where the sharding of the weights is known.
        passes = number_of_passes(self.params, tokens, self.config, passes, at=at, effects=effects, dtype=dtype)
        found = jitted_streaming(
            self.params,
            beside(self.params, tokens),
            asked,
            at,
            norms,
            config=self.config,
            reduction=reduction,
            effects=effects,
            plan=as_plan(self.config, (), edits, None),
            dtype=compute_dtype(dtype),
            passes=passes,
        )
        known = dataclasses.replace(found.known, vocabulary=self.vocabulary, model=self.source, notes=self.notes)

        def named(part: Any) -> Any:
            return known if isinstance(part, Provenance) else part

        return jax.tree.map(named, found, is_leaf=lambda part: isinstance(part, Provenance))

    def run(
        self,
        prompt: str | Sequence[int],
        *,
        target: str | None = None,
        against: str | None = None,
        position: int = -1,
        top: int = 20,
        sections: Sequence[str] = (),
    ) -> "Account":
        """One position's account, as ``landed run`` gives it: a value that shows itself as tables.

        Args:
            prompt: text, or token ids.
            target, against, position, top: as the options of ``landed run``.
            sections: the names of what else to find out, such as ``"by_source"`` for ``--by-source``.

        Raises:
            LandedError: for a text that is not one token, a position outside the prompt, a section that there is not,
                or a model without a tokenizer.

        >>> from landed_jax import load
        >>> account = load().run("The Colosseum is in the city of", top=3)
        >>> account.to_dict()["runner_up"]["text"]
        ' Athens'
        """
        from landed_jax.report.account import account_for
        from landed_jax.report.sections import sections_named

        account = account_for(
            self,
            prompt,
            target=target,
            against=against,
            position=position,
            top=top,
            sections=sections_named(sections),
            bucketed=True,
        )
        warn_of(account.warnings)
        return account

    def generate(
        self,
        prompt: Prompts,
        n: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        stop: int | Sequence[int] | None = None,
        interventions: Interventions = (),
        dtype: Any = None,
    ) -> "Generation":
        """Go on with one prompt or several by up to `n` tokens, one compiled step a token.

        Keys and values of the columns so far are kept, in arrays that have room for all. The likeliest token is taken,
        or one is drawn; ``.account()`` of what is returned says what each came from.

        An intervention takes part in every step, the reading of the prompt among them. One that names no position is
        meant at every column: the prompt's, and each generated token's. Positions are columns of the prompts and what
        is generated behind them: from 0, the prompts' padding counted, so that those from the prompts' length on are
        of generated tokens; a negative one counts from the end of the prompts, so that -1 is their last column. A value
        with an axis of columns has as many as the prompts have, and `n`.

        Args:
            prompt: as for `trace`; padded on the left, where there are several of unequal lengths.
            n: how many tokens at the most.
            temperature: 0 takes the likeliest token; above, one is drawn from the softmax of the logits divided by it.
            seed: of the draws; the same seed draws the same tokens.
            stop: ids behind which a text ends, or none, ``()``; by default those that the tokenizer and the files of
                the checkpoint name.
            interventions: changes as data (`landed.intervene`).
            dtype: float32 or float64; by default JAX's default float.

        Raises:
            LandedError: for an `n`, a temperature or a seed that is none, prompts that with `n` tokens have more than
                the model has positions for, padding behind a prompt, and what `trace` refuses.

        Warns:
            PromptWarning: as `trace`; and where prompt and generated tokens are more than the model was made for.

        >>> from landed_jax import load
        >>> found = load().generate("The Colosseum is in the city of", 2)
        >>> found.text, found.finish_reason
        (' Rome.', 'length')
        """
        from landed_jax.generation._generate import generate

        prompts, said = self._read(prompt)
        how: dict[str, Any] = {"temperature": temperature, "seed": seed, "stop": stop, "dtype": dtype}
        how["written"] = texts_of(prompt)
        found, more = generate(self, prompts, n, interventions=interventions, **how)
        warn_of([*said, *more])
        return found

    def save(self, dst: str | os.PathLike[str]) -> None:
        """Write the model as a native folder. Its precision is not written.

        Raises:
            LandedError: if `dst` exists or cannot be written.
        """
        config = dataclasses.replace(self.config, bfloat16_products=False)
        save_native(expanded(dst), config, self.params, self.folder, self.notes)

    def _read(self, prompts: Any) -> tuple[Tokens, list[str]]:
        return read_prompts(prompts, self.vocabulary, self.config, self.no_vocabulary)
