"""Planted models: small parameter sets whose mechanism is known exactly, for analyses to find by name.

Each function draws a random background and plants a mechanism on a few coordinates of the stream that are kept for
it: every random head, neuron and bias writes 0 there (though it may read them), and planted components write nowhere
else. γ is drawn from [0.5, 1.5] at every read site and divided out where the mechanism passes through it, so the
formulas below hold for any γ, prompt and background, up to rounding. In them, σ without an index is the final norm's
at the prompt's last position.
"""

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.writes.write import Write, next_site
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig, RopeConfig
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.parameters import Leaf, Params, build_tree, leaf_places
from landed_jax.numerics import compute_dtype
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

# With this base the slowest of the four rotary pairs turns by 2e-7 radians a position: a score there is content alone.
CONFIG = ModelConfig(
    vocab_size=40, d_model=32, n_layers=3, n_heads=6, n_kv_heads=2, head_dim=8, d_ff=24, rope=RopeConfig(theta=1e9)
)
BIASED_CONFIG = dataclasses.replace(CONFIG, attention_bias=True, mlp_bias=True)

MAX_BACKGROUND = 0.1  # beyond it random writes can outgrow the planted ones

_EVERY = 0  # the coordinate on which every token's embedding is the same
_SIZE = 4  # what embeddings hold on planted coordinates: enough to outweigh a background up to its maximum
_LENGTH = 8  # tokens in a prompt, where the caller does not choose


@dataclass(frozen=True, eq=False)
class Planted:
    """A model with a known mechanism, and the prompt and tokens that show it.

    Attributes:
        params: one subtree a layer, in the default float of the moment it was made.
        prompt: token ids; the mechanism is to be seen at the last one.
        target, against: the token ids to attribute; `against` is None where the bare logit is meant.
        writes: what was planted, largest |landed contribution| first, at the prompt's last column; a copying head's
            names its source column.
    """

    config: ModelConfig
    params: Params
    prompt: list[int]
    target: int
    against: int | None
    writes: tuple[Write, ...]

    @property
    def tokens(self) -> Tokens:
        """The prompt as a batch of one."""
        return Tokens.from_lists([self.prompt])

    def trace(self, record: Iterable[HookPoint] = WRITES | SOURCES) -> Trace:
        """One forward pass over the prompt at all positions, with its logits, bound to the weights.

        >>> writing_neuron().trace().logits.shape
        (1, 8, 40)
        """
        logits, trace = _forward(self.params, self.tokens, self.config, record=frozenset(record))
        return dataclasses.replace(trace, logits=logits).bind(self.params)


_forward = functools.partial(jax.jit, static_argnames=("config", "record"))(forward)


def copying_head(
    layer: int = 1, head: int = 2, *, source: int = 2, length: int = _LENGTH, background: float = 0.02, seed: int = 0
) -> Planted:
    """One head that attends to a marked token by its content and writes that token's unembedding direction.

    Eight tokens of the vocabulary are marked; the prompt holds one of them, `target`, at column `source`, and
    `against` is another. The head's query is the same at every position and meets marked tokens' keys alone, on the
    slowest rotary pair; every other score is 0, so from the source on it attends with A > 0.999, wherever the source
    is. Its value is the token's identity, and what it writes is, as the final norm hears it, along the token's
    unembedding on eight coordinates that nothing else writes to, not even the embedding; the marked tokens are
    orthonormal there. With σ_k that of the norm before the head, at the source, its landed contribution is

        8 A / (σ_k σ)   to the target,   0   to every other marked token.

    Args:
        layer, head: where to plant it.
        source: the column of the copied token, before the last one.
        length: tokens in the prompt.
        background: standard deviation of all other parameters, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the marked tokens, their directions and the prompt.

    Raises:
        LandedError: for a head or source that is not there, or a background out of range.

    >>> from landed_jax.analysis.attribution.attribute import attribute
    >>> planted = copying_head(layer=1, head=2, source=3)
    >>> first = attribute(planted.trace(), planted.target, planted.against).top(1)[0]
    >>> first.kind, first.layer, first.index, first.attended
    ('head', 1, 2, 3)
    """
    if not 0 <= source < length - 1:
        raise LandedError(f"The source column {source} is not before the last of {length} tokens.")
    config, random = CONFIG, np.random.default_rng(seed)
    write = _named("head", layer, head, config, length, source)
    n_marked = config.head_dim  # one value coordinate each
    mark, identity, output = 1, slice(2, 2 + n_marked), slice(2 + n_marked, 2 + 2 * n_marked)
    params = _background(config, output.stop, background, random)
    marked, others = np.split(random.permutation(config.vocab_size), [n_marked])
    W_E, W_U, gamma = params["embed"]["W_E"], params["unembed"]["W_U"], params["final_norm"]["gamma"]
    W_E[marked, mark] = _SIZE
    W_E[marked, identity] = _SIZE * np.eye(n_marked)
    W_U[marked, output] = np.linalg.qr(random.normal(size=(n_marked, n_marked)))[0]

    at = params["layers"][str(layer)]
    attn, heard, key = at["attn"], 1 / at["attn_norm"]["gamma"], head // config.group_size
    slow = config.head_dim // 2 - 1  # rotary embedding pairs it with the last coordinate
    _silence_head(attn, head)
    attn["W_Q"][head, slow, _EVERY] = 8 * heard[_EVERY]
    attn["W_K"][key, [slow, -1]] = 0
    attn["W_K"][key, slow, mark] = 8 * heard[mark]
    attn["W_V"][key] = 0
    attn["W_V"][key, :, identity] = np.diag(heard[identity])
    attn["W_O"][output, head] = 2 * (W_U[marked, output] / gamma[output]).T

    prompt = random.choice(others, length).tolist()
    target, against = (int(token) for token in random.choice(marked, 2, replace=False))
    prompt[source] = target
    return Planted(config, _as_jax(params), prompt, target, against, (write,))


def writing_neuron(layer: int = 1, neuron: int = 5, *, background: float = 0.02, seed: int = 0) -> Planted:
    """One neuron that alone writes the direction of a logit difference.

    It fires on a trigger token, the prompt's last and nowhere else in it, and is exactly 0 at every other token. As
    the final norm hears it, it writes ``W_U[target] − W_U[against]``, which is 2 v with v a unit vector on four
    coordinates: the two tokens' unembeddings are equal on all others. Nothing else writes there but the embedding,
    which is random there and of the background's size; every other head's and neuron's landed contribution to the
    difference is exactly 0. With σ_s that of the norm before the neuron, its activation and landed contribution are

        a = silu(4/σ_s) · 4/σ_s   and   a / σ.

    Args:
        layer, neuron: where to plant it.
        background: standard deviation of all other parameters, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the tokens and the direction.

    Raises:
        LandedError: for a neuron that is not there, or a background out of range.

    >>> from landed_jax.analysis.attribution.attribute import attribute
    >>> planted = writing_neuron(layer=1, neuron=5)
    >>> first = attribute(planted.trace(), planted.target, planted.against).top(1)[0]
    >>> first.kind, first.layer, first.index
    ('neuron', 1, 5)
    """
    config, random = CONFIG, np.random.default_rng(seed)
    write = _named("neuron", layer, neuron, config)
    trigger_mark, written = 1, slice(2, 6)
    params = _background(config, written.stop, background, random)
    target, against, trigger, *others = random.permutation(config.vocab_size).tolist()
    W_E, W_U, gamma = params["embed"]["W_E"], params["unembed"]["W_U"], params["final_norm"]["gamma"]
    W_E[trigger, trigger_mark] = _SIZE
    W_E[:, written] = background * random.normal(size=W_E[:, written].shape)
    W_U[against] = W_U[target]
    W_U[target, written] = _unit(random, written)
    W_U[against, written] = -W_U[target, written]

    at = params["layers"][str(layer)]
    mlp, heard = at["mlp"], 1 / at["mlp_norm"]["gamma"]
    _silence_neuron(mlp, neuron)
    mlp["W_gate"][neuron, trigger_mark] = heard[trigger_mark]
    mlp["W_up"][neuron, _EVERY] = heard[_EVERY]
    difference = W_U[target] - W_U[against]
    mlp["W_down"][:, neuron] = difference / (difference @ difference) / gamma

    prompt = [*random.choice(others, _LENGTH - 1).tolist(), trigger]
    return Planted(config, _as_jax(params), prompt, target, against, (write,))


def null_space_neuron(neuron: int = 5, *, background: float = 0.02, seed: int = 0) -> Planted:
    """One neuron of the last layer that writes into the null space of the unembedding, and acts through σ alone.

    Four columns of ``W_U`` are 0, so whatever γ is, no logit hears those coordinates; the neuron is all that writes
    there. Its landed contribution to every logit, centred or not, is exactly 0. With |w| its write's length, its σ
    share is ``|w|² / (d σ²)``, and without it every logit is multiplied by σ/σ′, where ``σ′² = σ² − |w|²/d``: its
    direct and its total effect are both ``logit · (1 − σ/σ′)``. The target's logit, the largest, is the embedding's
    work. With σ_s that of the norm before the neuron, ``|w| = 2 silu(4/σ_s) / σ_s``.

    Args:
        neuron: its index; the layer is the last.
        background: standard deviation of all other parameters, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the tokens and the write.

    Raises:
        LandedError: for a neuron that is not there, or a background out of range.

    >>> from landed_jax.analysis.attribution.attribute import attribute
    >>> planted = null_space_neuron(neuron=5)
    >>> shares = attribute(planted.trace(), planted.target)
    >>> float(shares.landed.neurons[-1, 0, -1, 5]), bool(abs(shares.direct_effect.neurons[-1, 0, -1, 5]) > 0.1)
    (0.0, True)
    """
    config, random = CONFIG, np.random.default_rng(seed)
    write = _named("neuron", config.n_layers - 1, neuron, config)
    null = slice(1, 5)
    params = _background(config, null.stop, background, random)
    W_U = params["unembed"]["W_U"]
    W_U[:, null] = 0
    # What every embedding says: without it a background of 0 would leave no logit for σ to divide.
    W_U[:, _EVERY] = random.uniform(-1, 1, config.vocab_size)
    target = int(random.integers(config.vocab_size))
    W_U[target, _EVERY] = 2

    at = params["layers"][str(write.layer)]
    mlp, heard = at["mlp"], 1 / at["mlp_norm"]["gamma"]
    _silence_neuron(mlp, neuron)
    mlp["W_gate"][neuron, _EVERY] = mlp["W_up"][neuron, _EVERY] = heard[_EVERY]
    mlp["W_down"][null, neuron] = _unit(random, null) / 2

    prompt = random.choice(config.vocab_size, _LENGTH).tolist()
    return Planted(config, _as_jax(params), prompt, target, None, (write,))


def cancelling_writes(
    head_layer: int = 0,
    head: int = 3,
    neuron_layer: int = 2,
    neuron: int = 5,
    *,
    background: float = 0.02,
    seed: int = 0,
) -> Planted:
    """A head, and a neuron of a later layer that undoes what the head wrote: gross large, net nothing.

    The head's value is 1 at every source, by its bias, so whatever it attends to, it writes the same vector. The
    neuron reads nothing; its biases make its activation ``silu(1) · 1``, and it writes the head's vector negated, to
    rounding, at every position of every prompt. As the final norm hears it, that vector is 4 v with v the target's
    unembedding, a unit vector, on four coordinates that nothing else writes to. The two landed contributions are
    ``+4/σ`` and ``−4/σ``. Layers between the two hear the head's write, those after hear neither.

    Args:
        head_layer, head: where to plant the head.
        neuron_layer, neuron: where to plant the neuron, in a later layer.
        background: standard deviation of all other parameters, biases too, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the tokens and the direction.

    Returns:
        The `writes` are the head, then the neuron; they are equally large.

    Raises:
        LandedError: for a head or neuron that is not there or not in this order, or a background out of range.

    >>> from landed_jax.analysis.attribution.attribute import attribute
    >>> planted = cancelling_writes()
    >>> rows = attribute(planted.trace(), planted.target).top(2)
    >>> sorted((row.kind, row.layer, row.index) for row in rows)
    [('head', 0, 3), ('neuron', 2, 5)]
    >>> bool(abs(rows[0].landed + rows[1].landed) < 1e-5 * abs(rows[0].landed))
    True
    """
    config, random = BIASED_CONFIG, np.random.default_rng(seed)
    writes = _named("head", head_layer, head, config), _named("neuron", neuron_layer, neuron, config)
    if not head_layer < neuron_layer:
        raise LandedError(f"The neuron's layer {neuron_layer} does not come after the head's layer {head_layer}.")
    written = slice(1, 5)
    params = _background(config, written.stop, background, random)
    target = int(random.integers(config.vocab_size))
    W_U, gamma = params["unembed"]["W_U"], params["final_norm"]["gamma"]
    W_U[target, written] = _unit(random, written)
    vector = 4 * W_U[target, written] / gamma[written]

    attn, key = params["layers"][str(head_layer)]["attn"], head // config.group_size
    _silence_head(attn, head)
    attn["W_V"][key, 0] = 0
    attn["b_V"][key, 0] = 1
    attn["W_O"][written, head, 0] = vector

    mlp = params["layers"][str(neuron_layer)]["mlp"]
    _silence_neuron(mlp, neuron)
    mlp["b_gate"][neuron] = mlp["b_up"][neuron] = 1
    activation = 1 / (1 + np.exp(-1.0))  # silu(1)
    mlp["W_down"][written, neuron] = -vector / activation

    prompt = random.choice(config.vocab_size, _LENGTH).tolist()
    return Planted(config, _as_jax(params), prompt, target, None, writes)


def _background(config: ModelConfig, kept: int, size: float, random: np.random.Generator) -> Params:
    """Random leaves (NumPy, float64) under which the first `kept` coordinates hold what the embedding put there.

    The embedding there is `_SIZE` on the first coordinate and 0 on the rest, for every token.
    """
    if not 0 <= size <= MAX_BACKGROUND:
        raise LandedError(f"A background of {size!r} is not between 0 and {MAX_BACKGROUND}.")

    def draw(leaf: Leaf) -> np.ndarray:
        if leaf.init == "ones":
            return random.uniform(0.5, 1.5, leaf.shape(config))
        value = size * random.normal(size=leaf.shape(config))
        if leaf.axes[0] == "d_model":  # the output matrices and biases, all that writes to the stream
            value[:kept] = 0
        return value

    params = build_tree((path, draw(leaf)) for path, leaf in leaf_places(config))
    params["embed"]["W_E"][:, :kept] = _SIZE * np.eye(kept)[_EVERY]
    return params


def _silence_head(attn: Params, head: int) -> None:
    attn["W_Q"][head] = 0
    attn["W_O"][:, head] = 0


def _silence_neuron(mlp: Params, neuron: int) -> None:
    mlp["W_gate"][neuron] = mlp["W_up"][neuron] = 0
    mlp["W_down"][:, neuron] = 0


def _unit(random: np.random.Generator, coordinates: slice) -> np.ndarray:
    """A random direction on these coordinates, of length 1."""
    vector = random.normal(size=coordinates.stop - coordinates.start)
    return vector / np.linalg.norm(vector)


def _named(
    kind: Literal["head", "neuron"],
    layer: int,
    index: int,
    config: ModelConfig,
    length: int = _LENGTH,
    source: int | None = None,
) -> Write:
    """The write at the prompt's last column, if the model has it."""
    write = Write(kind, layer, index, position=length - 1, source=source)
    next_site(write, config)  # refuses a layer or an index that is not there
    return write


def _as_jax(params: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, compute_dtype()), params)
