"""`Model`: config, weights and tokenizer, with methods to encode text and trace a forward pass; `load`, `convert`."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from landed_jax.analysis.reads._questions import Logit, Question, QuestionLike, as_question
from landed_jax.analysis.reads._targets import Target
from landed_jax.analysis.reduce._reductions import Reduction
from landed_jax.analysis.streaming._attribute_streaming import (
    StreamedAttribution,
    attribute_streaming,
    check_reduction,
    number_of_passes,
)
from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.checkpoints.hf.dtypes import FLOATS
from landed_jax.checkpoints.hf.files import check_inside
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.hub import resolve
from landed_jax.checkpoints.hf.reader import Progress, read_params
from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.checkpoints.native import is_native, load_native, read_manifest, save_native
from landed_jax.errors import LandedError
from landed_jax.files.atomic_folder import check_destination, is_unfinished
from landed_jax.files.json_object import read_json_object
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import WRITES, HookPoint
from landed_jax.nn.layer_programs import by_layers
from landed_jax.nn.output_norms import OutputNorms
from landed_jax.nn.parameters import Params, count_parameters
from landed_jax.nn.tap import Edit, Observer, Plan, as_plan
from landed_jax.numerics import compute_dtype
from landed_jax.provenance import Provenance
from landed_jax.tokens import Tokens, as_tokens, check_ids, columns
from landed_jax.trace import Trace
from landed_jax.vocabulary import Vocabulary

Prompts = Tokens | str | Sequence[str] | Sequence[Sequence[int]] | jax.Array | np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model's facts, weights and tokenizer.

    Attributes:
        params: the weights as the checkpoint has them.
        vocabulary: the tokenizer; None where the checkpoint has none.
        source: the argument of `load`.
        folder: the folder it was read from.

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

    def __repr__(self) -> str:
        config = self.config
        size = f"{config.n_layers} layers, d_model {config.d_model}, {config.n_heads} heads, d_ff {config.d_ff}"
        return f"Model({', '.join(filter(None, [self.source, size]))}, {count_parameters(config):,} parameters)"

    def encode(self, text: str | Sequence[str]) -> Tokens:
        """One prompt, or several: shorter ones are padded on the left, so that each ends at the last column.

        Raises:
            LandedError: if the model has no tokenizer, or a prompt has no token.
        """
        if self.vocabulary is None:
            raise LandedError(
                f"The model {self.source!r} came without a tokenizer: pass token ids, or put its tokenizer.json "
                "beside the weights."
            )
        texts = [text] if isinstance(text, str) else list(text)
        return Tokens.from_lists([self.vocabulary.encode(t) for t in texts])

    def trace(
        self,
        tokens: Prompts,
        *,
        record: Iterable[HookPoint] = WRITES,
        at: int | Sequence[int] | jax.Array | None = None,
        edits: Mapping[HookPoint, Edit] | None = None,
        observers: Mapping[str, Observer] | None = None,
        dtype: Any = None,
    ) -> Trace:
        """One jitted forward pass, recorded, with its logits and bound to the weights.

        Args:
            tokens: `Tokens`, ids ``[batch, position]``, lists of ids, a prompt, or several prompts.
            record: the sites to record; by default what the landed writes need.
            at: the columns to record and to compute logits for, from the left or (negative) from the right; by
                default all. Another choice of as many columns does not compile again.
            edits: for a site, ``edit(value, layer) -> value``; see `forward`.
            observers: functions of one layer's writes, whose results are in ``trace.observed``; see `forward`. A
                new function object compiles a new program.
            dtype: float32 or float64; by default JAX's default float.

        Raises:
            LandedError: for ids or columns out of range, ids of the wrong shape, or text without a tokenizer.
        """
        tokens = self._as_tokens(tokens)
        logits, trace = _jitted_forward(
            self.params,
            tokens,
            None if at is None else columns(at, tokens.ids.shape[1]),
            config=self.config,
            plan=as_plan(record, edits, observers),
            dtype=compute_dtype(dtype),
        )
        return dataclasses.replace(trace, logits=logits).bind(self.params, self.vocabulary, self.source)

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
        norms: OutputNorms | None = None,
    ) -> StreamedAttribution:
        """Every write's share of every position's logit, reduced layer by layer as the model runs; jitted.

        See `landed_jax.attribute_streaming`; targets may be text here. A new `reduction` object compiles a
        new program.

        Raises:
            LandedError: as `trace` and `attribute` do.

        >>> from landed_jax.analysis.reduce import top_writes
        >>> model = load()
        >>> found = model.attribute_streaming("The Colosseum is in the city of", top_writes(3), effects=True)
        >>> found.reduced.landed.shape, found.value.shape
        ((3,), (1, 8))
        """
        check_reduction(reduction)
        asked = as_question(question, against)
        asked = asked.in_ids(self.vocabulary, self.config) if isinstance(asked, Logit) else asked
        tokens = self._as_tokens(tokens)
        at = None if at is None else columns(at, tokens.ids.shape[1])
        # Outside of jit, where the sharding of the weights is known.
        passes = number_of_passes(self.params, tokens, self.config, passes, at=at, effects=effects, dtype=dtype)
        found = _jitted_streaming(
            self.params,
            tokens,
            asked,
            at,
            norms,
            config=self.config,
            reduction=reduction,
            effects=effects,
            plan=as_plan((), edits, None),
            dtype=compute_dtype(dtype),
            passes=passes,
        )
        known = dataclasses.replace(found.known, vocabulary=self.vocabulary, model=self.source)

        def named(part: Any) -> Any:
            return known if isinstance(part, Provenance) else part

        return jax.tree.map(named, found, is_leaf=lambda part: isinstance(part, Provenance))

    def save(self, dst: str | os.PathLike[str]) -> None:
        """Write the model as a native folder.

        Raises:
            LandedError: if `dst` exists or cannot be written.
        """
        save_native(Path(dst).expanduser(), self.config, self.params, self.folder)

    def _as_tokens(self, tokens: Any) -> Tokens:
        if isinstance(tokens, str) or (_is_list(tokens) and tokens and all(isinstance(t, str) for t in tokens)):
            tokens = self.encode(tokens)
        elif _is_list(tokens) and all(_is_list(prompt) for prompt in tokens):
            tokens = Tokens.from_lists([self._checked(prompt) for prompt in tokens])
        tokens = as_tokens(tokens)
        check_ids(tokens, self.config.vocab_size)
        return tokens

    def _checked(self, ids: Sequence[int]) -> Sequence[int]:
        """The same ids. An id out of range is refused, as JAX would silently read another token."""
        for token in ids:
            if not isinstance(token, int | np.integer) or not 0 <= token < self.config.vocab_size:
                last = self.config.vocab_size - 1
                raise LandedError(f"There is no token {token!r}: this model's ids run from 0 to {last}.")
        return ids


@functools.partial(by_layers, static=("config", "plan", "dtype"))
def _jitted_forward(
    params: Params,
    tokens: Tokens,
    at: jax.Array | None,
    *,
    config: ModelConfig,
    plan: Plan,
    dtype: Any,
) -> tuple[jax.Array, Trace]:
    edits, observers = dict(plan.edits), dict(plan.observers)
    return forward(params, tokens, config, record=plan.record, at=at, edits=edits, observers=observers, dtype=dtype)


@functools.partial(by_layers, static=("config", "reduction", "effects", "plan", "dtype", "passes"))
def _jitted_streaming(
    params: Params,
    tokens: Tokens,
    question: Question,
    at: jax.Array | None,
    norms: OutputNorms | None,
    *,
    config: ModelConfig,
    reduction: Reduction,
    plan: Plan,
    **how: Any,
) -> StreamedAttribution:
    return attribute_streaming(
        params, tokens, config, reduction, question, at=at, edits=dict(plan.edits), norms=norms, **how
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def load(
    source: str | os.PathLike[str] = BUNDLED,
    *,
    mesh: Mesh | None = None,
    stacked: bool | None = None,
    progress: Progress | None = None,
) -> Model:
    """Open a model.

    Args:
        source: a Hugging Face id, a folder in Hugging Face layout, or a native folder; by default the small model
            that comes with the package.
        mesh: place the weights on it: heads, neurons and the vocabulary are cut over its axis ``model``.
        stacked: hold the layers under one leading axis (the time to compile then does not grow with depth), or one
            subtree a layer (faster to run on CPU); by default whichever suits the device.
        progress: ``progress(done, total)`` in bytes, called as a Hugging Face checkpoint is read.

    Raises:
        LandedError: if it cannot be opened; the message lists every reason.

    >>> model = load()
    >>> trace = model.trace("The Colosseum is in the city of", at=-1)
    >>> model.vocabulary.text(trace.logits[0, -1].argmax())
    ' Rome'
    """
    folder = resolve(source)
    platform = mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()
    config, params = _open(folder, mesh, platform != "cpu" if stacked is None else stacked, progress)
    return Model(config, params, load_vocabulary(folder), str(source), folder)


def read_config(source: str | os.PathLike[str]) -> tuple[ModelConfig, str | None]:
    """A model's config, read without its weights, and the float type of the weights where its files state it.

    Raises:
        LandedError: if there is no such model, or its config is not supported.
    """
    folder = resolve(source, config_only=True)
    if is_native(folder):
        return read_manifest(folder)
    values = read_json_object(folder / "config.json")
    dtype = values.get("dtype") or values.get("torch_dtype")
    return config_from_hf(values), dtype if isinstance(dtype, str) and dtype in map(str, FLOATS.values()) else None


def convert(src: str | os.PathLike[str], dst: str | os.PathLike[str], progress: Progress | None = None) -> None:
    """Write the model `src` as the native folder `dst`, atomically.

    Memory use is at most the parameters and about one layer. Under `jax.distributed` all processes call it, and the
    first writes.

    Raises:
        LandedError: if `src` cannot be opened or contains links to files elsewhere, or `dst` exists, is being written
            by another process or thread, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert("bundled", f"{folder}/native")
    ...     load(f"{folder}/native").config.n_layers
    4
    """
    dst = Path(dst).expanduser()
    check_destination(dst)
    folder = resolve(src)
    check_inside(folder)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        config, params = _open(folder, None, False, progress)
        save_native(dst, config, params, folder)


def _open(folder: Path, mesh: Mesh | None, stacked: bool, progress: Progress | None) -> tuple[ModelConfig, Params]:
    if is_unfinished(folder.absolute()):
        raise LandedError(f"{folder} is what an interrupted conversion left: delete it and convert again.")
    if is_native(folder):
        return load_native(folder, mesh, stacked)
    config = config_from_hf(read_json_object(folder / "config.json"))
    return config, read_params(folder, config, mesh=mesh, stacked=stacked, progress=progress)
