"""The Flax modules: they own the parameters' shapes, call the pure functions, and tap every named place."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.nn.attention import attend, attention_mask, attention_pattern, mix_values
from landed_jax.nn.columns import ExpertColumns
from landed_jax.nn.config import LayerKind, ModelConfig
from landed_jax.nn.expert_products import expert_linear
from landed_jax.nn.experts import Chosen, choose, expert_weights
from landed_jax.nn.functions import ACTIVATIONS, gated, heard, rms_sigma, rotate, scale_stream
from landed_jax.nn.hook_points import AXES, HookPoint
from landed_jax.nn.layer_programs import through_layers
from landed_jax.nn.output_scale import OutputScale
from landed_jax.nn.parameters import LEAVES
from landed_jax.nn.products import head_linear, linear
from landed_jax.nn.table_rows import rows_of_table
from landed_jax.nn.tap import Context, Plan, observe, record, select_positions, tap
from landed_jax.nn.unembedding import Unembedding
from landed_jax.nn.weights_on_disk import in_memory


class _Part(nn.Module):
    """A module of the decoder: it finds its parameters' shapes in the leaf table."""

    config: ModelConfig
    plan: Plan

    def leaf(self, path: str) -> Any:
        leaf = LEAVES[path]
        shape = leaf.shape(self.config)
        return in_memory(self.param(path.split("/")[1], nn.initializers.normal(), shape))

    def gain(self, path: str, x: jax.Array) -> jax.Array:
        """A norm's γ as it is applied, in the type of `x`."""
        gamma, offset = self.leaf(path).astype(x.dtype), self.config.gain_offset
        return gamma + offset if offset else gamma

    def linear(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        """``x Wᵀ`` of the forward pass."""
        return linear(x, weight, bfloat16=self.config.bfloat16_products)

    def add_bias(self, x: jax.Array, path: str) -> jax.Array:
        if not LEAVES[path].present(self.config):
            return x
        bias = self.leaf(path).astype(x.dtype)
        return x + bias.reshape((1,) * (x.ndim - bias.ndim) + bias.shape)

    def tap(self, name: str, value: jax.Array, layer: jax.Array | None, context: Context) -> jax.Array:
        return tap(self, self.plan, HookPoint(name), value, layer, context)


class ReadNorm(_Part):
    """A read site: σ of the stream, then the stream as it lands. Where the stream itself is read, σ and γ are 1.

    LayerNorm is RMSNorm of the stream without its mean, and a bias β behind it.
    """

    site: str  # attn, mlp or final

    @nn.compact
    def __call__(self, x: jax.Array, layer: jax.Array | None, context: Context) -> jax.Array:
        x = self.tap(f"{self.site}_norm_input", x, layer, context)
        x, has_norm = heard(x, self.config), self.config.has_norm(self.site)
        sigma = rms_sigma(x, self.config.norm_eps) if has_norm else jnp.ones_like(x[..., 0])
        sigma = self.tap(f"{self.site}_sigma", self.plan.rules.scale(sigma), layer, context)
        gamma = self.gain(f"{self.site}_norm/gamma", x) if has_norm else jnp.ones_like(x[(0,) * (x.ndim - 1)])
        gamma = self.tap(f"{self.site}_gamma", gamma, layer, context)
        normed = self.add_bias(scale_stream(x, sigma, gamma), f"{self.site}_norm/beta")
        return self.tap(f"{self.site}_normed", normed, layer, context)


class Output(_Part):
    """What attention or the MLP puts out, as it is added to the stream; and the scale between the two."""

    site: str  # attn or mlp

    @nn.compact
    def __call__(self, y: jax.Array, layer: jax.Array, context: Context) -> tuple[jax.Array, OutputScale]:
        y = self.tap(f"{self.site}_out", y, layer, context)
        sigma = gamma = None
        if self.config.output_norms:
            sigma = self.plan.rules.scale(rms_sigma(y, self.config.norm_eps))
            sigma = self.tap(f"{self.site}_out_sigma", sigma, layer, context)
            gamma = self.tap(f"{self.site}_out_gamma", self.gain(f"{self.site}_out_norm/gamma", y), layer, context)
        scale = OutputScale.of(self.config, sigma, gamma)
        return self.tap(f"{self.site}_write", scale.written(y), layer, context), scale


class Attention(_Part):
    """Grouped-query attention with rotary embedding; a head puts out ``z_h W_O[h]``. Gives all of it, and z.

    `kind` is that of the layer, as `ModelConfig.kinds` gives it. All heads hear the same, ``[batch, position,
    d_model]``; or each its own with its query, its key and its value, ``[3, batch, position, head, d_model]``: heads
    that share a key head then have a copy of it each.
    """

    kind: LayerKind

    @nn.compact
    def __call__(self, x: jax.Array, layer: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        d_model, narrow, rules = self.config.d_model, context.narrowed(), self.plan.rules
        asking, x, to_mix = x if x.ndim == 5 else (x, x, x)
        asking = asking if context.asked is None else jnp.take(asking, context.asked, axis=1)

        def every_head(name: str, x: jax.Array) -> jax.Array:
            weight = self.leaf(f"attn/W_{name}")
            heads = self.linear(x, weight.reshape(-1, d_model))
            return self.add_bias(heads.reshape(*x.shape[:-1], *weight.shape[:2]), f"attn/b_{name}")

        def project(name: str, x: jax.Array) -> jax.Array:
            if x.ndim == 3:
                return every_head(name, x)
            every = head_linear(x, self.leaf(f"attn/W_{name}"), bfloat16=self.config.bfloat16_products)
            heads = jnp.swapaxes(every, 2, 3)
            heads = jnp.swapaxes(self.add_bias(heads, f"attn/b_{name}"), 2, 3)
            return heads.reshape(*x.shape[:-1], heads.shape[-1])

        def normed_by_width(name: str, x: jax.Array) -> jax.Array:
            gamma, every = self.gain(f"attn/{name.lower()}_width_gamma", x), every_head(name, x)
            flat = every.reshape(*x.shape[:-1], -1)
            sigma = rules.scale(rms_sigma(flat, self.config.norm_eps))
            normed = scale_stream(flat, sigma, gamma.reshape(-1)).reshape(every.shape)
            if x.ndim == 3:
                return normed
            heads = np.arange(x.shape[2])  # each has the σ of all heads that its own input would make
            return normed[:, :, heads, heads * every.shape[-2] // len(heads)]

        def turned(name: str, x: jax.Array, context: Context) -> jax.Array:
            heads = normed_by_width(name, x) if self.config.qk_norm == "width" else project(name, x)
            if self.config.qk_norm == "head":
                gamma = self.gain(f"attn/{name.lower()}_gamma", x)
                heads = scale_stream(heads, rules.scale(rms_sigma(heads, self.config.norm_eps)), gamma)
            return heads if self.kind.rope is None else rotate(heads, *context.rotary[self.kind.rope])

        q, scale = turned("Q", asking, narrow), narrow.query_scale
        q = self.tap("query", q if scale is None else q * scale[:, :, None, None], layer, narrow)
        k = self.tap("key", turned("K", x, context), layer, context)
        v = self.tap("value", project("V", to_mix), layer, context)
        if context.earlier is not None:
            k, v = (jnp.concatenate([before, own], axis=1) for before, own in zip(context.earlier, (k, v), strict=True))
        if context.cache is not None:
            assert context.columns is not None  # which of the cache's columns these are
            held, first = zip(context.cache, (k, v), strict=True), context.columns[0]
            k, v = (jax.lax.dynamic_update_slice_in_dim(whole, own, first, axis=1) for whole, own in held)
        recorded, scoring = HookPoint.PATTERN in self.plan.record, self.config.scoring
        if self.config.sinks:
            scoring = scoring._replace(sinks=self.leaf("attn/sinks").astype(x.dtype))
        changed = self.plan.edits_any(HookPoint.PATTERN) or context.intervenes_on(HookPoint.PATTERN)
        few = context.asked is not None or context.cache is not None  # queries, which are not those of the last keys
        if rules.attention != "plain" or changed or (recorded and context.at is None) or few:
            visible = attention_mask(context.mask, self.kind.window, narrow.columns)
            q, k, scoring = *map(rules.attention_factor, (q, k)), scoring._replace(secant=rules.attention != "plain")
            pattern = rules.weights(attention_pattern(q, k, visible, scoring))
            factors = map(rules.attention_factor, (self.tap("pattern", pattern, layer, narrow), v))
            z = mix_values(*factors, bfloat16=scoring.bfloat16)
        else:
            z = attend(q, k, v, context.mask, scoring, self.kind.window)
            if recorded:  # the rows of the chosen positions: the pattern is never made whole
                visible = attention_mask(context.mask, self.kind.window, context.at)
                queries = select_positions(q, AXES[HookPoint.QUERY], context.at)
                record(self, HookPoint.PATTERN, attention_pattern(queries, k, visible, scoring))
        z = self.tap("head", z, layer, narrow)
        out = self.linear(z.reshape(*asking.shape[:2], -1), self.leaf("attn/W_O").reshape(d_model, -1))
        return self.add_bias(out, "attn/b_O"), z


class MLP(_Part):
    """The MLP, gated or not; a neuron puts out ``a_j W_down[j]``. Gives all of it, and a."""

    @nn.compact
    def __call__(self, x: jax.Array, layer: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        if self.config.gated_mlp:
            gate = self.add_bias(self.linear(x, self.leaf("mlp/W_gate")), "mlp/b_gate")
            up = self.add_bias(self.linear(x, self.leaf("mlp/W_up")), "mlp/b_up")
            gate = self.tap("gate", gate, layer, context)
            a = gated(self.config.activation, gate, self.tap("up", up, layer, context), self.plan.rules)
        else:
            pre = self.add_bias(self.linear(x, self.leaf("mlp/W_in")), "mlp/b_in")
            a = self.plan.rules.curve(ACTIVATIONS[self.config.activation])(self.tap("gate", pre, layer, context))
        a = self.tap("neuron", a, layer, context)
        return self.add_bias(self.linear(a, self.leaf("mlp/W_down")), "mlp/b_down"), a


class Experts(_Part):
    """MLPs of which each position uses a few, as its router chooses; neuron j of e puts out ``p_e a_j W_down[e][j]``.

    Gives all that they put out, the neurons' factors ``p_e a_j`` (those of the first chosen expert, then of the next),
    and the choice.
    """

    @nn.compact
    def __call__(self, x: jax.Array, layer: jax.Array, context: Context) -> tuple[jax.Array, jax.Array, Chosen]:
        config, rules = self.config, self.plan.rules
        # In the stream's type always: a rounded logit could choose another expert.
        logits = self.add_bias(linear(x, self.leaf("experts/W_router")), "experts/b_router")
        logits = self.tap("router", logits, layer, context)
        ids = self.tap("expert", choose(logits, config.experts_per_token), layer, context)
        context = context._replace(experts=ids)
        weights = rules.weights(expert_weights(logits, ids, config.router_normalised))
        chosen = Chosen(ids, self.tap("expert_weight", weights, layer, context))
        rows = jnp.broadcast_to(x[:, :, None], (*ids.shape, x.shape[-1])).reshape(ids.size, -1)

        def tapped(site: str, each: jax.Array) -> jax.Array:
            # Of the chosen experts' neurons in a row, which a mesh that cuts each expert's would have to gather.
            flat = each.reshape(*x.shape[:2], -1)
            found = self.tap(site, flat, layer, context)
            return each if found is flat else found.reshape(each.shape)

        def pre(name: str, site: str) -> jax.Array:
            found = expert_linear(rows, self.leaf(f"experts/W_{name}"), ids.ravel(), bfloat16=config.bfloat16_products)
            if LEAVES[f"experts/b_{name}"].present(config):
                found = found + jnp.take(self.leaf(f"experts/b_{name}"), ids.ravel(), axis=0).astype(x.dtype)
            return tapped(site, found.reshape(*ids.shape, -1))

        if config.gated_mlp:
            a = gated(config.activation, pre("gate", "gate"), pre("up", "up"), rules)
        else:
            a = rules.curve(ACTIVATIONS[config.activation])(pre("in", "gate"))
        a, weights = map(rules.attention_factor, (a, chosen.weights))
        a = tapped("neuron", a * weights[..., None])
        bias = self.leaf("experts/b_down") if LEAVES["experts/b_down"].present(config) else None
        # What an expert's bias adds is worth something by the bias, which no rule gives to its weight.
        weights = jax.lax.stop_gradient(chosen.weights) if rules.attention != "plain" else chosen.weights
        columns = ExpertColumns(self.leaf("experts/W_down"), bias, Chosen(ids, weights))
        out, added = columns.summed(a, bfloat16=config.bfloat16_products), columns.bias(a.dtype)
        return out if added is None else out + added, a.reshape(*x.shape[:2], -1), chosen


class Block(_Part):
    """One layer: attention, then MLP, or both beside each other; each hears the stream through its own norm."""

    kind: LayerKind

    @nn.compact
    def __call__(self, x: jax.Array, layer: jax.Array, context: Context) -> jax.Array:
        x = self.tap("attn_residual", x, layer, context)
        normed = ReadNorm(self.config, self.plan, "attn", name="attn_norm")(x, layer, context)
        out, z = Attention(self.config, self.plan, self.kind, name="attn")(normed, layer, context)
        x, context = x if context.asked is None else jnp.take(x, context.asked, axis=1), context.narrowed()
        attn_write, attn_scale = Output(self.config, self.plan, "attn", name="attn_out_norm")(out, layer, context)
        parallel = self.config.parallel_blocks
        x = self.tap("mlp_residual", x if parallel else x + attn_write, layer, context)
        normed = ReadNorm(self.config, self.plan, "mlp", name="mlp_norm")(x, layer, context)
        if self.config.n_experts:
            out, a, chosen = Experts(self.config, self.plan, name="experts")(normed, layer, context)
        else:
            (out, a), chosen = MLP(self.config, self.plan, name="mlp")(normed, layer, context), None
        write, mlp_scale = Output(self.config, self.plan, "mlp", name="mlp_out_norm")(out, layer, context)
        x = x + attn_write if parallel else x
        return observe(self, self.plan, x + write, layer, z, a, (attn_scale, mlp_scale), chosen, context)


class Layers(_Part):
    """The layers, one after another: each with its own subtree of parameters, or stacked along a leading axis.

    Layers that differ in more than their numbers are kinds: each is compiled once.
    """

    stacked: bool

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        params, kinds = self.variables["params"], self.config.kinds
        different = list(dict.fromkeys(kinds))
        layers, kind_of = [self._layer(kind) for kind in different], [different.index(kind) for kind in kinds]
        held = () if context.cache is None else (context.cache,)
        x, found = through_layers(layers, kind_of, params, x, context._replace(cache=None), held)
        by_layer = (
            [found] if self.stacked else [{key: {str(i): kept[key]} for key in kept} for i, kept in enumerate(found)]
        )
        for kept in by_layer:
            for collection, values in kept.items():
                for name, value in values.items():
                    self.put_variable(collection, name, value)
        return x

    def _layer(self, kind: LayerKind) -> Callable[..., tuple[jax.Array, Any]]:
        """The stream after a layer of this kind, and what it recorded; a function of the layer's parameters."""
        block = Block(self.config, self.plan, kind, parent=None)

        def layer(params: Any, x: jax.Array, index: jax.Array, context: Context, *cache: Any) -> tuple[jax.Array, Any]:
            context = context._replace(cache=cache[0]) if cache else context
            return block.apply({"params": params}, x, index, context, mutable=["intermediates", "observed"])

        return layer


class Embed(_Part):
    """The token embedding, the first write; its table is the unembedding too where the two are tied.

    Learned positions are a write beside it.
    """

    def setup(self) -> None:
        self.W_E = self.leaf("embed/W_E")
        if self.config.learned_positions:
            self.W_pos = self.leaf("embed/W_pos")

    def __call__(self, ids: jax.Array, dtype: jnp.dtype, context: Context) -> jax.Array:
        rows = rows_of_table(self.W_E, ids).astype(dtype)
        if (scale := self.config.embedding_scale) != 1:
            narrow = self.config.rounded_embedding_scale and self.W_E.dtype.itemsize < 4
            rows = rows * (jnp.asarray(scale, self.W_E.dtype).astype(dtype) if narrow else jnp.asarray(scale, dtype))
        rows = self.tap("embedding", rows, None, context)
        if not self.config.learned_positions:
            return rows
        places = rows_of_table(self.W_pos, context.positions).astype(dtype)
        return rows + self.tap("position_embedding", places, None, context)


class Unembed(_Part):
    """The map from the final landed stream to logits."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return Unembedding.of(self.config, self.leaf("unembed/W_U")).logits(x)


class Decoder(_Part):
    """Embedding, layers, final norm, logits.

    `stacked` says how the layers' parameters are held; both run the same `Block`. From the final norm on, only the
    positions that are asked for (`Context.at`) are computed.
    """

    stacked: bool

    @nn.compact
    def __call__(self, ids: jax.Array, context: Context, dtype: jnp.dtype) -> jax.Array:
        embed = Embed(self.config, self.plan, name="embed")
        x = embed(ids, dtype, context)
        x = Layers(self.config, self.plan, self.stacked, name="layers")(x, context)
        x = select_positions(x, ("batch", "position", "d_model"), context.at)
        context = context if context.at is None else context._replace(at=None, columns=context.at)  # selected above
        x = self.tap("final_residual", x, None, context)
        x = ReadNorm(self.config, self.plan, "final", name="final_norm")(x, None, context)
        if self.config.tie_embeddings:
            return Unembedding.of(self.config, embed.W_E).logits(x)
        return Unembed(self.config, self.plan, name="unembed")(x)
