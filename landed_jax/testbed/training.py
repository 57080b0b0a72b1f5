"""Training on the language. It is seeded, and resumes from a checkpoint with bitwise equal results."""

import contextlib
import dataclasses
import json
import math
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from landed_jax.checkpoints.hf.writer import write_checkpoint
from landed_jax.checkpoints.orbax import StorageError, attempt, quiet
from landed_jax.errors import LandedError, listed, shown
from landed_jax.files.atomic_file import write_file
from landed_jax.files.atomic_folder import claimed, fill_folder
from landed_jax.files.json_object import read_json_object
from landed_jax.files.kinds import expanded, status_of
from landed_jax.files.unfinished import remove
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import Params, init_params
from landed_jax.testbed import language
from landed_jax.testbed.scoring import Score, ask, score
from landed_jax.testbed.tokenizer import build_tokenizer, save_tokenizer
from landed_jax.vocabulary import Vocabulary

ARCHITECTURE = ModelConfig(
    vocab_size=len(language.SPECIAL) + len(language.words()),
    d_model=128,
    n_layers=4,
    n_heads=8,
    n_kv_heads=4,
    head_dim=16,
    d_ff=384,
    norm_eps=1e-6,
    max_positions=64,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the trained parameters.

    Attributes:
        steps: updates, each on `batch` rows.
        peak: the highest learning rate, reached after `warmup` steps and reduced to 0 along a half cosine.
        decay: AdamW's weight decay, on matrices.
    """

    config: ModelConfig = ARCHITECTURE
    seed: int = 0
    steps: int = 3000
    batch: int = 64
    peak: float = 3e-3
    warmup: int = 200
    decay: float = 0.1

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {getattr(self, name)!r}, not a whole number of at least {least}"
            for name, least in (("seed", 0), ("steps", 1), ("batch", 1), ("warmup", 0))
            if type(getattr(self, name)) is not int or getattr(self, name) < least
        ]
        if not 0 < self.peak < math.inf or not 0 <= self.decay < math.inf:
            wrong.append(f"peak {self.peak!r} and decay {self.decay!r} are not numbers above 0")
        if self.config.vocab_size != ARCHITECTURE.vocab_size:
            wrong.append(f"vocab_size is {self.config.vocab_size}, not the language's {ARCHITECTURE.vocab_size}")
        if self.seed not in range(2**32):
            wrong.append("the seed is not below 2**32")
        if wrong:
            raise LandedError(f"This training cannot be: {listed(wrong)}.")

    def optimizer(self) -> optax.GradientTransformation:
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.peak, self.warmup, max(self.steps, self.warmup + 1))
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, b1=0.9, b2=0.98, weight_decay=self.decay, mask=_is_matrix),
        )


@dataclass(frozen=True)
class Progress:
    """The argument of ``watch``.

    Attributes:
        step: updates done.
        loss: of the last update, in nats a token.
        scores: on held-out sentences, after the steps that measure them.
    """

    step: int
    loss: float
    scores: list[Score] | None


def _is_matrix(params: Params) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def start(recipe: Recipe) -> Params:
    """Random parameters; output matrices are scaled down by the square root of the number of writes."""
    params = init_params(recipe.config, jax.random.key(recipe.seed), scale=0.05)
    deeper = (2 * recipe.config.n_layers) ** -0.5
    for layer in params["layers"].values():
        layer["attn"]["W_O"] *= deeper
        layer["mlp"]["W_down"] *= deeper
    return params


def loss(params: Params, ids: Int[Array, "row position"], config: ModelConfig) -> Float[Array, ""]:
    """Cross entropy of each token given those before it, in nats a token; ids below 0 are padding."""
    logits, _ = forward(params, jnp.maximum(ids[:, :-1], 0), config, record=())
    wanted = ids[:, 1:]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(wanted, 0))
    return jnp.sum(each, where=wanted >= 0) / jnp.sum(wanted >= 0).astype(each.dtype)


@partial(jax.jit, static_argnames="recipe", donate_argnames="state")
def update(state: dict[str, Any], ids: Int[Array, "row position"], recipe: Recipe) -> tuple[dict[str, Any], jax.Array]:
    """One step: the new parameters and optimizer state, and the loss before it."""
    value, gradient = jax.value_and_grad(loss)(state["params"], ids, recipe.config)
    changes, optimizer = recipe.optimizer().update(gradient, state["optimizer"], state["params"])
    return {"params": optax.apply_updates(state["params"], changes), "optimizer": optimizer}, value


def train(
    dst: Path,
    recipe: Recipe = Recipe(),
    *,
    watch: Callable[[Progress], None] = lambda progress: None,
    save_every: int = 500,
    score_every: int | None = 500,
    keep_steps: Collection[int] = (),
) -> None:
    """Train and write a folder in Hugging Face layout.

    Checkpoints are in ``DST.training`` until the end. After an interruption the same call resumes from the last one and
    ends in the same parameters.

    Args:
        save_every, score_every: in steps; None for no scores.
        keep_steps: after these many updates the model is kept too, in ``DST/steps/000100`` and so on, each a folder
            like `dst`; 0 is the model before the first.

    Raises:
        LandedError: if `dst` exists, is being written by another process or thread or cannot be written, was begun with
            another recipe, or went past a step that is to be kept without keeping it.
    """
    if wrong := [step for step in keep_steps if not 0 <= step <= recipe.steps]:
        raise LandedError(f"A training of {recipe.steps:,} steps has no step {wrong[0]:,} to keep.")
    dst = expanded(dst).absolute()
    kept = dst.with_name(f"{dst.name}.training")
    with claimed(dst):
        _agree(kept, recipe)
        tokenizer = build_tokenizer(recipe.config.max_positions)
        questions = ask(Vocabulary(tokenizer), 100) if score_every else None
        models = {step: kept / "models" / f"{step:06}" for step in sorted(keep_steps)}

        def keep(step: int, params: Params) -> None:
            # A folder that is there is whole, and of the same parameters: the training was resumed before it.
            if step in models and status_of(models[step]) is None:
                _make_folder(models[step].parent)
                with fill_folder(models[step]) as folder:
                    _write_model(folder, recipe, params, tokenizer)

        try:
            params = _run(kept, recipe, questions, watch, save_every, score_every, keep, models)
        except LandedError:
            _tidy(kept)
            raise
        with fill_folder(dst) as folder:
            _write_model(folder, recipe, params, tokenizer)
            for model in models.values():  # copied, so that a full disk takes none from the state
                shutil.copytree(model, folder / "steps" / model.name)
        shutil.rmtree(kept, ignore_errors=True)  # the model is complete; leftovers of the state do no harm


def powers_of_two(steps: int) -> list[int]:
    """0, 1, 2, 4, … and the last of some steps: what is worth keeping where it is not known when a training turns.

    >>> powers_of_two(10)
    [0, 1, 2, 4, 8, 10]
    """
    return sorted({0, steps, *(1 << power for power in range(steps.bit_length()))})


def _write_model(folder: Path, recipe: Recipe, params: Params, tokenizer: Any) -> None:
    special = {
        "bos_token_id": language.SPECIAL.index(language.BOS),
        "eos_token_id": language.SPECIAL.index(language.EOS),
    }
    write_checkpoint(folder, recipe.config, jax.tree.map(np.asarray, params), special)
    save_tokenizer(tokenizer, folder)


def _run(
    kept: Path,
    recipe: Recipe,
    questions: Any,
    watch: Callable[[Progress], None],
    save_every: int,
    score_every: int | None,
    keep: Callable[[int, Params], None],
    models: Mapping[int, Path],
) -> Params:
    """Run the remaining steps, with a checkpoint in `kept` every `save_every` steps; `keep` is called at each."""
    from orbax.checkpoint import v1 as ocp

    rows = language.Rows(recipe.seed)
    # Orbax's annotation of the argument excludes its own policy class.
    latest: Any = ocp.training.preservation_policies.LatestN(2)
    with quiet(), _closed(ocp.training.Checkpointer(str(kept / "steps"), preservation_policy=latest)) as checkpoints:
        params = start(recipe)
        state = {"params": params, "optimizer": recipe.optimizer().init(params)}
        done = 0
        if checkpoints.latest is not None:
            done = checkpoints.latest.step
            state = _load(checkpoints, done, state, kept)
        if past := [step for step, model in models.items() if step < done and status_of(model) is None]:
            raise LandedError(
                f"The training in {kept} is past step {past[0]:,} and did not keep it: ask for no such step, or delete "
                "the folder to begin again."
            )
        keep(done, state["params"])
        for step in range(done, recipe.steps):
            state, value = update(state, rows.batch(step, recipe.batch), recipe)
            last = step + 1 == recipe.steps
            keep(step + 1, state["params"])
            if (step + 1) % save_every == 0 or last:
                _save(checkpoints, step + 1, state, kept)
            scores = None
            if questions is not None and score_every and (last or (step + 1) % score_every == 0):
                scores = score(state["params"], recipe.config, questions)
            watch(Progress(step + 1, float(value), scores))
    return state["params"]


@contextlib.contextmanager
def _closed(checkpoints: Any) -> Iterator[Any]:
    """Close the checkpointer at the end, without a second report of a failure that was raised in the block."""
    try:
        yield checkpoints
    except BaseException:
        with contextlib.suppress(StorageError):
            attempt(checkpoints.close)
        raise
    checkpoints.close()


def _tidy(kept: Path) -> None:
    """Remove incomplete checkpoints after a failed write, and the folder if no complete one is in it."""
    steps = list((kept / "steps").glob("*"))
    whole = [step for step in steps if step.name.isdecimal()]
    for step in steps:
        if step not in whole:
            remove(step)
    if not whole:
        remove(kept)


def _crc32(state: dict[str, Any]) -> np.ndarray:
    """A checksum of the state; Orbax loads changed bits without an error."""
    crc = 0
    for leaf in jax.tree.leaves(state):
        crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
    return np.array(crc, np.uint32)


def _save(checkpoints: Any, step: int, state: dict[str, Any], kept: Path) -> None:
    try:
        attempt(lambda: checkpoints.save(step, {"state": state, "crc32": _crc32(state)}))
    except StorageError as error:
        raise LandedError(f"The state of the training cannot be written to {kept}: {error}.") from None


def _load(checkpoints: Any, step: int, like: dict[str, Any], kept: Path) -> dict[str, Any]:
    try:
        loaded = attempt(lambda: checkpoints.load(step, {"state": like, "crc32": np.array(0, np.uint32)}))
        if int(loaded["crc32"]) == int(_crc32(loaded["state"])):
            return loaded["state"]
        why = "its checksum is another"
    except StorageError as error:
        why = str(error)
    raise LandedError(
        f"Step {step} in {kept / 'steps'} is damaged ({why}): delete that step to go on from the one before, or all of "
        f"{kept} to begin again."
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LandedError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _agree(kept: Path, recipe: Recipe) -> None:
    """Save the recipe, or refuse to resume with another."""
    written = json.loads(json.dumps(dataclasses.asdict(recipe)))
    file = kept / "recipe.json"
    if status_of(file) is None:
        if (kept / "steps").exists():
            raise LandedError(f"{kept} does not say which training it is the state of: delete it and begin again.")
        _make_folder(kept)
        try:
            write_file(file, json.dumps(written, indent=1).encode())
        except LandedError:
            _tidy(kept)
            raise
        return
    before = read_json_object(file)
    different = [
        f"{name} {shown(before.get(name))}, now {shown(value)}"
        for name, value in written.items()
        if before.get(name) != value
    ]
    if different:
        raise LandedError(
            f"The training in {kept} was begun otherwise ({listed(different)}): give the same settings or delete it."
        )
