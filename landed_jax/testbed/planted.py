"""Planted models: small parameter sets with an exactly known mechanism, as ground truth for analyses.

Each function draws a random background and plants a mechanism on a few reserved coordinates of the stream: random
heads, neurons and biases write 0 to these coordinates (though they may read them), and planted components write to no
others. γ is drawn from [0.5, 1.5] at every read site and divided out where the mechanism passes through it, so the
formulas below are valid for any γ, prompt and background, up to rounding. In them, σ without an index is the final
norm's at the prompt's last position.
"""

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.writes._write import Write, next_site
from landed_jax.errors import LandedError
from landed_jax.forward_pass import forward
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import SOURCES, WRITES, HookPoint
from landed_jax.nn.parameters import Leaf, Params, build_tree, leaf_places
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.numerics import compute_dtype
from landed_jax.tokens import Tokens
from landed_jax.trace import Trace

# With this base the slowest of the four rotary pairs turns by 2e-7 radians per position: its scores ignore position.
CONFIG = ModelConfig(
    vocab_size=40, d_model=32, n_layers=3, n_heads=6, n_kv_heads=2, head_dim=8, d_ff=24, rope=RopeConfig(theta=1e9)
)
BIASED_CONFIG = dataclasses.replace(CONFIG, qkv_bias=True, output_bias=True, mlp_bias=True)

MAX_BACKGROUND = 0.1  # above it random writes can exceed the planted ones

_EVERY = 0  # the coordinate that is equal in all tokens' embeddings
_SIZE = 4  # the value of embeddings on planted coordinates: larger than any background in range
_LENGTH = 8  # default number of tokens in a prompt


@dataclass(frozen=True, eq=False)
class Planted:
    """A model with a known mechanism, and the prompt and tokens that show it.

    Attributes:
        params: one subtree per layer, in JAX's default float at the time of the call.
        prompt: token ids; the mechanism acts at the last one.
        target, against: the token ids to attribute; `against` is None for a bare logit.
        writes: the planted writes at the prompt's last column, largest |landed contribution| first; that of a copying
            head has its source column.
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

    Eight tokens of the vocabulary are marked. The prompt has one of them, `target`, at column `source`; `against` is
    another. The head's query is the same at every position and matches only the keys of marked tokens, on the slowest
    rotary pair. Every other score is 0, so from the source on it attends with A > 0.999 to the source. Its value is the
    token's identity, and its landed write is along the token's unembedding, on eight coordinates to which no other
    component writes, the embedding included; the marked tokens' unembeddings are orthonormal on them. With σ_k that of
    the norm before the head, at the source, its landed contribution is

        8 A / (σ_k σ)   to the target,   0   to every other marked token.

    Args:
        layer, head: where to plant it.
        source: the column of the copied token, before the last one.
        length: tokens in the prompt.
        background: standard deviation of all other parameters, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the marked tokens, their directions and the prompt.

    Raises:
        LandedError: for a head or source out of range, or a background out of range.

    >>> from landed_jax.analysis.attribution._attribute import attribute
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
    slow = config.head_dim // 2 - 1  # paired with the last coordinate by the rotary embedding
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

    It is active on a trigger token, which is the prompt's last only, and exactly 0 at every other token. Its write
    after the final norm is along ``W_U[target] − W_U[against]``, which is 2 v with v a unit vector on four coordinates:
    the two tokens' unembeddings are equal on all others. Only the embedding also writes to these four, random values of
    the background's size; every other head's and neuron's landed contribution to the difference is exactly 0. With σ_s
    that of the norm before the neuron, its activation and landed contribution are

        a = silu(4/σ_s) · 4/σ_s   and   a / σ.

    Args:
        layer, neuron: where to plant it.
        background: standard deviation of all other parameters, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the tokens and the direction.

    Raises:
        LandedError: for a neuron that is not there, or a background out of range.

    >>> from landed_jax.analysis.attribution._attribute import attribute
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

    Four columns of ``W_U`` are 0, so for any γ no logit depends on those coordinates directly; only the neuron writes
    to them. Its landed contribution to every logit, centred or not, is exactly 0. With |w| its write's length, its σ
    share is ``|w|² / (d σ²)``, and without it every logit is multiplied by σ/σ′, where ``σ′² = σ² − |w|²/d``: its
    direct and its total effect are both ``logit · (1 − σ/σ′)``. The target's logit, the largest, comes from the
    embedding. With σ_s that of the norm before the neuron, ``|w| = 2 silu(4/σ_s) / σ_s``.

    Args:
        neuron: its index; the layer is the last.
        background: standard deviation of all other parameters, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the tokens and the write.

    Raises:
        LandedError: for a neuron that is not there, or a background out of range.

    >>> from landed_jax.analysis.attribution._attribute import attribute
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
    # Read from all embeddings alike: with a background of 0 all logits would otherwise be 0.
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
    """A head, and a neuron of a later layer that cancels the head's write: large gross, zero net contribution.

    The head's value is 1 at every source, by its bias, so its write is the same for any pattern. The neuron reads
    nothing; its biases make its activation ``silu(1) · 1``, and it writes the negative of the head's vector, to
    rounding, at every position of every prompt. Multiplied by the final γ, that vector is 4 v with v the target's
    unembedding, a unit vector, on four coordinates to which no other component writes. The two landed contributions
    are ``+4/σ`` and ``−4/σ``. Layers between the two read the head's write, later layers read neither.

    Args:
        head_layer, head: where to plant the head.
        neuron_layer, neuron: where to plant the neuron, in a later layer.
        background: standard deviation of all other parameters, biases too, from 0 to `MAX_BACKGROUND`.
        seed: of the background, the tokens and the direction.

    Returns:
        The `writes` are the head, then the neuron; they are equally large.

    Raises:
        LandedError: for a head or neuron out of range or not in this order, or a background out of range.

    >>> from landed_jax.analysis.attribution._attribute import attribute
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
    """Random leaves (NumPy, float64) under which only the embedding writes to the first `kept` coordinates.

    Every token's embedding is `_SIZE` on the first of these coordinates and 0 on the rest.
    """
    if not 0 <= size <= MAX_BACKGROUND:
        raise LandedError(f"A background of {size!r} is not between 0 and {MAX_BACKGROUND}.")

    def draw(leaf: Leaf) -> np.ndarray:
        if leaf.init == "ones":
            return random.uniform(0.5, 1.5, leaf.shape(config))
        value = size * random.normal(size=leaf.shape(config))
        if leaf.axes[0] == "d_model":  # output matrices and biases, which write to the stream
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
    """The write at the prompt's last column, checked against the config."""
    write = Write(kind, layer, index, position=length - 1, source=source)
    next_site(write, config)  # raises for a layer or an index out of range
    return write


def _as_jax(params: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, compute_dtype()), params)
