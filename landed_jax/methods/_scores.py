"""What a method says of each component, one number a prompt."""

import dataclasses

from jaxtyping import Array, Float

from landed_jax.results.result import Result, result


@result
class Scores(Result):
    """A method's scores, summed over positions: positive for what supports the right answer.

    Attributes:
        heads: None where the method says nothing of heads.
        neurons: None where it says nothing of neurons, and in models with experts, where a place on the axis would be
            another expert's neuron at each position.
        tokens: by column of the prompt; None where it says nothing of input tokens. (The prompts themselves are in
            `known`.)
        value: what was split or approximated.
        conservation_error: a sum of parts less the value: of the tokens' scores and of what is fixed (learned
            positions, biases); or of all writes' at the asked position. No promise that it is small: see
            ``docs/methods.md``. None where no sum has a meaning.
    """

    heads: Float[Array, "layer batch head"] | None = None
    neurons: Float[Array, "layer batch neuron"] | None = None
    # The name of what is scored; the base class's shorthand for the prompts stands back.
    tokens: Float[Array, "batch position"] | None = None  # pyright: ignore[reportIncompatibleMethodOverride] # scores, where others have the prompts
    value: Float[Array, " batch"] = dataclasses.field(kw_only=True)
    conservation_error: Float[Array, " batch"] | None = None
