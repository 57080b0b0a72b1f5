"""Where numbers come from: which prompts, which positions, which model."""

import dataclasses
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Bool, Int

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.stream_order import StreamOrder
from landed_jax.numerics import is_concrete
from landed_jax.printable import printable
from landed_jax.processes import gathered
from landed_jax.shapes import ShapeRepr
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Provenance(ShapeRepr):
    """The prompts, the recorded positions and the model that a trace or a result is of.

    Attributes:
        tokens: the prompts.
        at: ``[position]``, the columns of `tokens` that were recorded (counted from 0).
        config: the model's architecture.
        vocabulary: the tokenizer's view of ids; None where there is none.
        model: what the model was opened by; "" where that is not known.
        notes: how its weights were read where that is not simply what its files say.
    """

    tokens: Tokens
    at: Int[Array, " position"]
    config: ModelConfig = dataclasses.field(metadata={"static": True})
    vocabulary: Vocabulary | None = dataclasses.field(default=None, metadata={"static": True})
    model: str = dataclasses.field(default="", metadata={"static": True})
    notes: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def order(self) -> StreamOrder:
        """Which sites read the stream, and which writes each of them reads."""
        return StreamOrder.of(self.config)

    @property
    def real(self) -> Bool[Array, "batch position"]:
        """False where a recorded position is padding."""
        return self.tokens.mask[:, self.at]

    def recorded(self, position: int, batch: int | None = None) -> jax.Array:
        """Where a column of the tokens (negative: from the end) stands among the recorded positions: a scalar.

        Args:
            batch: the prompt, for a number of that prompt alone: padding, where it would mean nothing, is then refused.

        Raises:
            LandedError: if the prompt or the column is not there, or the column was not recorded or is padding of that
                prompt (under ``jit`` and ``vmap`` the last two cannot be seen).
        """
        length = self.tokens.ids.shape[-1]
        column = position + length if position < 0 else position
        if batch is not None:
            self.check_prompt(batch)
        if not 0 <= column < length:
            raise LandedError(f"Position {position} is outside the prompt, whose positions run from 0 to {length - 1}.")
        mask = self.tokens.mask
        if batch is not None and is_concrete(mask) and mask.ndim == 2 and not np.asarray(gathered(mask))[batch, column]:
            raise LandedError(f"Position {position} of prompt {batch} is padding.")
        if not is_concrete(self.at):
            return jax.numpy.argmax(self.at == column)
        at = np.asarray(gathered(self.at))
        found = at == column
        if not found.any():
            raise LandedError(f"Position {position} was not recorded; the trace has {at.tolist()}.")
        return jax.numpy.asarray(np.argmax(found))

    def check_prompt(self, batch: int) -> None:
        """Refuse a prompt that the batch does not hold.

        Raises:
            LandedError: naming it.
        """
        prompts = self.tokens.ids.shape[-2]
        if not 0 <= batch < prompts:
            raise LandedError(f"There is no prompt {batch}: the batch holds {prompts}.")

    def same(self, other: "Provenance") -> bool:
        """Whether both are of the same prompts, positions and architecture, as far as their numbers are known now."""
        pairs = list(zip(jax.tree.leaves(self), jax.tree.leaves(other), strict=True))
        if self.config != other.config or any(a.shape != b.shape for a, b in pairs):
            return False
        return not all(is_concrete(leaf) for pair in pairs for leaf in pair) or all(
            np.array_equal(gathered(a), gathered(b)) for a, b in pairs
        )

    def summary(self) -> str:
        """``bundled, 4 layers, 1 × 8 tokens``: the model, and the prompts' number and length."""
        shape = " × ".join(map(str, self.tokens.ids.shape))
        return ", ".join(filter(None, [printable(self.model), f"{self.config.n_layers} layers", f"{shape} tokens"]))
