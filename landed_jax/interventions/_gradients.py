"""One forward and one backward pass: the values of chosen hook points, and the derivative of a measure by each."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from landed_jax.errors import LandedError
from landed_jax.forward_pass import by_name, context_of
from landed_jax.interventions._measures import Measure, prepared
from landed_jax.interventions._runs import final_at
from landed_jax.model import Model, Prompts
from landed_jax.nn.config import LayerKind, ModelConfig
from landed_jax.nn.gradient_rules import PLAIN, GradientRules
from landed_jax.nn.hook_points import EMBEDDINGS, OUTSIDE_LAYERS, HookPoint, absent, as_sites, axes_of
from landed_jax.nn.intervention import Intervention, Interventions, checked, intervened
from landed_jax.nn.layer_programs import by_layers, through_layers
from landed_jax.nn.modules import Block, Embed, ReadNorm
from landed_jax.nn.parameters import Params, unembedding
from landed_jax.nn.tap import Context, Plan
from landed_jax.numerics import compute_dtype, highest_precision
from landed_jax.prompts import read_prompts, warn_of
from landed_jax.provenance import Provenance
from landed_jax.results.result import Result, result
from landed_jax.tokens import Tokens, check_ids, check_positions, columns
from landed_jax.trace import Trace

if TYPE_CHECKING:  # slow to import, and only `to_xarray` needs it
    import xarray

_FINAL = OUTSIDE_LAYERS - EMBEDDINGS


@result
class Gradients(Result):
    """Values and derivatives at hook points, in all columns of the prompts.

    Attributes:
        values: by hook point, what passed it; those within layers have a leading layer axis.
        slopes: in the same axes, the derivative of `value`, summed over the asked columns. A prompt's value depends on
            its own numbers alone, so its slopes are its own too; those of a γ, which has no batch axis, are summed.
        value: the measure in the asked columns.
    """

    values: Mapping[HookPoint, jax.Array]
    slopes: Mapping[HookPoint, jax.Array]
    value: Float[Array, "batch asked"]

    def to_xarray(self, *, axes: Sequence[str] | None = None, derived: bool = False) -> "xarray.Dataset":
        """Each array with named axes: ``values.head``, ``slopes.head``, …, and ``value``."""
        import xarray as xr

        from landed_jax.results.dataset import to_xarray

        named = [("value", self.value, ("batch", "asked"))]
        for name, by_site in (("values", self.values), ("slopes", self.slopes)):
            named += [(f"{name}.{site.value}", array, axes_of(site)) for site, array in by_site.items()]
        lead = tuple(axes or ())
        parts = [to_xarray(array, self.known, axes=lead + own).rename(value=name) for name, array, own in named]
        return xr.merge(parts, compat="override", combine_attrs="override").assign_attrs(result=type(self).__name__)


def gradients(
    model: Model,
    tokens: Prompts,
    measure: Measure,
    sites: Iterable[HookPoint],
    *,
    at: int | Sequence[int] = -1,
    always: Interventions = (),
    rules: GradientRules | None = None,
    dtype: Any = None,
) -> Gradients:
    """What passes each of some hook points, and the derivative of a measure by it, at every layer and position.

    The derivative is by what the model goes on with: behind the interventions that change it. Each layer is computed
    once more on the way back, so that one layer's intermediate values exist at a time; all layers of a kind share one
    compiled program.

    Args:
        tokens: a prompt, or several; computed in the shape they have.
        measure: as for `sweep`: a question at the final norm, a token, one of the measures, or a function of logits.
        sites: hook points; all but the numbers of chosen experts, which have no derivative.
        at: the columns in which it is measured, from the left or (negative) from the right.
        always: interventions that take part in the run.
        rules: other derivatives of some steps, as relevance propagation has them; by default each step's own.
        dtype: float32 or float64; by default JAX's default float.

    Raises:
        LandedError: for hook points and interventions that the model cannot have, and what `resolve` refuses.

    >>> import landed_jax as landed
    >>> model, head = landed.load(), landed.HookPoint.HEAD
    >>> question = landed.Logit(" Rome", against=" Athens")
    >>> found = gradients(model, "The Colosseum is in the city of", question, [head])
    >>> found.slopes[head].shape == found.values[head].shape == (4, 1, 8, 8, 16)
    True
    >>> to_first_order = (found.values[head] * found.slopes[head]).sum((-1, -3))  # of setting each head to 0
    >>> int(to_first_order[2, 0].argmax()), round(float(to_first_order[2, 0].max()), 2)
    (7, 2.66)
    """
    config, wanted = model.config, _differentiable(sites, model.config)
    trace, inputs = _run(model, tokens, wanted, always, dtype)
    asked = columns(at, trace.tokens.ids.shape[1])
    ready = prepared(measure, final_at(trace, asked), unembedding(model.params, config))
    value, slopes = _backward(model.params, inputs, ready, asked, config=config, sites=wanted, rules=rules or PLAIN)
    values = {site: trace[site] for site in sorted(wanted)}
    return Gradients(values, {site: slopes[site] for site in values}, value, provenance=trace.provenance)


def recorded(
    model: Model, tokens: Prompts, sites: Iterable[HookPoint], *, always: Interventions = (), dtype: Any = None
) -> Trace:
    """The same run's values alone, of all columns, and what the final norm reads and puts out; no logits.

    >>> import landed_jax as landed
    >>> recorded(landed.load(), "The Colosseum", [landed.HookPoint.HEAD])[landed.HookPoint.HEAD].shape
    (4, 1, 3, 8, 16)
    """
    return _run(model, tokens, as_sites(sites), always, dtype)[0]


def _run(
    model: Model, tokens: Prompts, sites: frozenset[HookPoint], always: Interventions, dtype: Any
) -> tuple[Trace, "_BackwardInputs"]:
    prompts, said = read_prompts(tokens, model.vocabulary, model.config, model.no_vocabulary)
    warn_of(said)
    check_ids(prompts, model.config.vocab_size)
    if model.config.learned_positions:
        check_positions(prompts, model.config.max_positions)
    together, dtype = checked(always, model.config, *prompts.ids.shape), compute_dtype(dtype)
    trace, inputs = _forward(model.params, prompts, together, config=model.config, sites=sites, dtype=dtype)
    return trace.bind(model.params, model.vocabulary, model.source, model.notes), inputs


def _differentiable(sites: Iterable[HookPoint], config: ModelConfig) -> frozenset[HookPoint]:
    wanted, without = as_sites(sites), absent(config)
    for site in sorted(wanted.intersection(without)):
        raise LandedError(f"This model has no {site.value} to differentiate by: {without[site]}.")
    if HookPoint.EXPERT in wanted:
        raise LandedError("The numbers of chosen experts have no derivative: take expert_weight or router.")
    return wanted


class _BackwardInputs(NamedTuple):
    """What the backward pass needs of the forward pass.

    Attributes:
        stream: ``[layer, batch, position, d_model]``, before each layer and what changes its residual.
        final: ``[batch, position, d_model]``, after the last one.
    """

    context: Context
    stream: jax.Array
    final: jax.Array


@functools.partial(by_layers, static=("config", "sites", "dtype"))
@highest_precision
def _forward(
    params: Params,
    tokens: Tokens,
    interventions: tuple[Intervention, ...],
    *,
    config: ModelConfig,
    sites: frozenset[HookPoint],
    dtype: Any,
) -> tuple[Trace, _BackwardInputs]:
    """The run itself: what passes the hook points and what a measure is made from; no logits."""
    context, plan = context_of(tokens, config, interventions, dtype), Plan(sites | _FINAL)
    embed: Any = Embed(config, plan, parent=None)
    x, first = embed.apply({"params": params["embed"]}, tokens.ids, dtype, context, mutable=["intermediates"])

    def of_kind(kind: LayerKind) -> Any:
        block: Any = Block(config, plan, kind, parent=None)

        def layer(part: Params, x: jax.Array, index: jax.Array, context: Context) -> Any:
            after, found = block.apply({"params": part}, x, index, context, mutable=["intermediates"])
            return after, (x, by_name(found.get("intermediates", {})))

        return layer

    final, (stream, inside) = _stacked(through_layers(*_kinds(config, of_kind), params["layers"], x, context))
    last = _final_values(params, final, context, config=config)
    sown = {**by_name(dict(first.get("intermediates") or {})), **inside, **last}
    known = Provenance(tokens, jnp.arange(tokens.ids.shape[1]), config)
    trace = Trace(known, {site.value: sown[site.value] for site in sorted(sites | _FINAL)})
    return trace, _BackwardInputs(context, stream, final)


def _kinds(config: ModelConfig, of_kind: Callable[[LayerKind], Any]) -> tuple[list[Any], list[int]]:
    different = list(dict.fromkeys(config.kinds))
    return [of_kind(kind) for kind in different], [different.index(kind) for kind in config.kinds]


def _stacked(found: tuple[Any, Any]) -> tuple[Any, Any]:
    """The carry, and the layers' results stacked, however the parameters are held."""
    carry, results = found
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *results) if isinstance(results, list) else results


def _final_values(
    params: Params, x: jax.Array, context: Context, *, config: ModelConfig, rules: GradientRules = PLAIN
) -> dict[str, jax.Array]:
    """What passes each hook point behind the last layer."""
    norm: Any = ReadNorm(config, Plan(_FINAL, rules=rules), "final", parent=None)
    x = intervened(context.interventions, HookPoint.FINAL_RESIDUAL, x, None, None)
    _, found = norm.apply({"params": params["final_norm"]}, x, None, context, mutable=["intermediates"])
    return {HookPoint.FINAL_RESIDUAL.value: x, **found["intermediates"]}


@functools.partial(by_layers, static=("config", "sites", "rules"))
@highest_precision
def _backward(
    params: Params,
    inputs: _BackwardInputs,
    measure: Any,
    asked: jax.Array,
    *,
    config: ModelConfig,
    sites: frozenset[HookPoint],
    rules: GradientRules,
) -> tuple[jax.Array, dict[HookPoint, jax.Array]]:
    """The measure, and its derivative by each hook point: by zeros that are added to it."""
    within, last = sites - OUTSIDE_LAYERS, (sites & OUTSIDE_LAYERS) - EMBEDDINGS
    to_logits = unembedding(params, config)

    def measured(x: jax.Array, zeros: dict[HookPoint, jax.Array]) -> tuple[jax.Array, jax.Array]:
        found = _final_values(params, x, _with(inputs.context, zeros), config=config, rules=rules)
        value = measure(jnp.take(found[HookPoint.FINAL_NORMED.value], asked, axis=1), to_logits)
        return jnp.sum(value), value

    values = _final_values(params, inputs.final, inputs.context, config=config)
    zeros = {site: jnp.zeros_like(values[site.value]) for site in last}
    (slope, slopes), value = jax.grad(measured, argnums=(0, 1), has_aux=True)(inputs.final, zeros)

    def of_kind(kind: LayerKind) -> Any:
        def run(part: Params, index: jax.Array, context: Context, x: jax.Array, zeros: Any, plan: Plan) -> Any:
            block: Any = Block(config, plan, kind, parent=None)
            return block.apply({"params": part}, x, index, _with(context, zeros), mutable=["intermediates"])

        def layer(part: Params, slope: jax.Array, index: jax.Array, context: Context, x: jax.Array) -> Any:
            _, found = jax.eval_shape(functools.partial(run, plan=Plan(within)), part, index, context, x, {})
            shapes = by_name(found.get("intermediates", {}))
            zeros = {site: jnp.zeros_like(shapes[site.value]) for site in within}
            _, pull = jax.vjp(lambda *by: run(part, index, context, *by, plan=Plan(rules=rules))[0], x, zeros)
            return pull(slope)

        return layer

    stacks = (inputs.stream,)
    found = through_layers(*_kinds(config, of_kind), params["layers"], slope, inputs.context, stacks, back=True)
    slope, inside = _stacked(found)
    # Between an embedding and the stream before the first layer there are only sums, so both have the same slope.
    outside: dict[HookPoint, Any] = {**slopes, **dict.fromkeys(sites & EMBEDDINGS, slope)}
    return value, {**outside, **inside}


def _with(context: Context, zeros: Mapping[HookPoint, jax.Array]) -> Context:
    """The context of a run in which these are added."""
    added = tuple(Intervention(site, "add", value=zero) for site, zero in zeros.items())
    return context._replace(interventions=(*context.interventions, *added))
