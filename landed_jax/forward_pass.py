"""The forward pass as one pure function: parameters and tokens in, logits and a trace out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from landed_jax.automatic_axes import on_any_mesh
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.hook_points import OUTSIDE_LAYERS, WRITES, HookPoint
from landed_jax.nn.intervention import Intervention, Interventions, checked
from landed_jax.nn.modules import Decoder
from landed_jax.nn.parameters import Params, is_stacked
from landed_jax.nn.rotary import query_scale, rotary_tables
from landed_jax.nn.tap import Context, Edit, Observer, as_plan
from landed_jax.numerics import compute_dtype, highest_precision
from landed_jax.provenance import Provenance
from landed_jax.tokens import Tokens, as_tokens, check_ids, check_positions, columns
from landed_jax.trace import Trace


@on_any_mesh("batch", "position", "vocab")
@highest_precision
def forward(
    params: Params,
    tokens: Tokens | Int[Array, "batch position"],
    config: ModelConfig,
    *,
    record: Iterable[HookPoint] = WRITES,
    at: int | Sequence[int] | Int[Array, " recorded"] | None = None,
    interventions: Interventions = (),
    edits: Mapping[HookPoint, Edit] | None = None,
    observers: Mapping[str, Observer] | None = None,
    dtype: Any = None,
) -> tuple[Float[Array, "batch recorded vocab"], Trace]:
    """Run the model and record what was asked for.

    Pure: it works under ``jit`` (with `config`, `record`, `edits`, `observers` and `dtype` static), ``vmap``, ``grad``
    and sharding. A site that is not recorded costs nothing.

    Args:
        params: the weights, in any float type; they are cast as they are used.
        tokens: ids ``[batch, position]``, or `Tokens` where there is padding.
        record: the sites to record; by default what the landed writes need. Add `SOURCES` for the split by source
            token, `RESIDUALS` for the closure at every read site.
        at: the columns of `tokens` to record and to compute logits for, from the left or (negative)
            from the right; by default all.
        interventions: changes given as data (`landed.intervene`), one or a list: arrays, so that another head, layer,
            position or value compiles nothing, and ``vmap`` runs over many. Applied before edits.
        edits: for a site, ``edit(value, layer) -> value``, for what data cannot say; applied before the value is used
            and recorded. From the final norm on, values hold only the positions `at`. A change of z, a, q, k, v or the
            pattern leaves the account of the logits exact; one of a whole write, a residual, a σ or a normed stream
            changes what the writes sum to, and shows in the closure error. A change of a residual patches the stream,
            and goes on to all later layers; one of a norm's input changes that one read alone.
        observers: functions of one layer's `LayerWrites` (at the positions `at`, as edited) to any pytree of arrays.
            They are compiled into the layer loop, so a layer's factors are freed before the next layer; what they
            return is in ``trace.observed`` by their name, with a leading layer axis.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for ids or columns out of range, or a prompt beyond the learned positions (where they are known:
            not under ``jit``), for a site that the model does not have, and arguments that are not of the kinds above.

    Returns:
        Logits ``[batch, recorded, vocab]`` and the `Trace`, not yet bound to weights.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> from landed_jax.nn.parameters import init_params
    >>> params = init_params(config, jax.random.key(0))
    >>> logits, trace = forward(params, jnp.array([[1, 5, 7]]), config)
    >>> logits.shape, trace[HookPoint.NEURON].shape, trace.sigma.shape
    ((1, 3, 11), (2, 1, 3, 12), (5, 1, 3))
    >>> loudest = {"loudest": lambda writes: jax.lax.top_k(jnp.abs(writes.a), 2)[1]}
    >>> _, trace = forward(params, jnp.array([[1, 5, 7]]), config, record=(), observers=loudest)
    >>> trace.observed["loudest"].shape
    (2, 1, 3, 2)
    """
    tokens = as_tokens(tokens)
    check_ids(tokens, config.vocab_size)
    at = None if at is None else columns(at, tokens.ids.shape[1])
    dtype = compute_dtype(dtype)
    if config.learned_positions:
        check_positions(tokens, config.max_positions)
    plan = as_plan(config, record, edits, observers)
    context = context_of(tokens, config, checked(interventions, config, *tokens.ids.shape), dtype, at)
    decoder = Decoder(config, plan, is_stacked(params))
    logits, state = decoder.apply({"params": params}, tokens.ids, context, dtype, mutable=["intermediates", "observed"])
    sown = collected(state.get("intermediates") or {}, plan.record, config.n_layers)
    kept: Any = (state.get("observed") or {}).get("layers") or {}
    if kept and not is_stacked(params):
        each = [kept[str(i)]["by_name"] for i in range(config.n_layers)]
        observed = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    else:
        observed = kept.get("by_name", {})
    if at is None:
        at = jnp.arange(tokens.ids.shape[1])
    return logits, Trace(Provenance(tokens, at, config), sown, observed=dict(observed))


def context_of(
    tokens: Tokens,
    config: ModelConfig,
    interventions: tuple[Intervention, ...],
    dtype: Any,
    at: Int[Array, " recorded"] | None = None,
) -> Context:
    """What all layers share in a pass over these tokens."""
    positions = tokens.positions
    rotary, scale = rotary_tables(config, positions, dtype), query_scale(config, positions, dtype)
    return Context(rotary, scale, tokens.mask, positions, at, interventions)


def by_name(tree: Mapping[str, Any]) -> dict[str, Any]:
    """One flat dictionary of what modules recorded."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves.update(by_name(value) if isinstance(value, Mapping) else {name: value})
    return leaves


def collected(intermediates: Mapping[str, Any], record: frozenset[HookPoint], n_layers: int) -> dict[str, jax.Array]:
    """One flat dictionary of sown values, layer sites with a leading layer axis."""
    layers = intermediates.get("layers", {})
    outside = by_name({name: tree for name, tree in intermediates.items() if name != "layers"})
    if "0" in layers:  # one subtree a layer
        each = [by_name(layers[str(i)]) for i in range(n_layers)]
        inside = {name: jnp.stack([values[name] for values in each]) for name in each[0]}
    else:
        inside = by_name(layers)
    return {site.value: (outside if site in OUTSIDE_LAYERS else inside)[site.value] for site in sorted(record)}
