"""Tiny models in Flax's NNX, with the names and shapes of bonsai's Qwen 3 and of Flax's own Gemma, that compute."""

import jax
import jax.numpy as jnp
from flax import nnx

from landed_jax.nn.config import ModelConfig


def _rotated(x: jax.Array, theta: float) -> jax.Array:
    half = x.shape[-1] // 2
    angle = jnp.outer(jnp.arange(x.shape[1]).astype(x.dtype), theta ** (-jnp.arange(half).astype(x.dtype) / half))
    sin, cos = jnp.sin(angle)[None, :, None], jnp.cos(angle)[None, :, None]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class Attention(nnx.Module):
    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        d, n, k, h = config.d_model, config.n_heads, config.n_kv_heads, config.head_dim
        self.theta = config.rope.theta
        self.is_gemma = config.gain_offset == 1
        if self.is_gemma:
            self.q_einsum = nnx.Einsum("BTD,NDH->BTNH", (n, d, h), rngs=rngs)
            self.kv_einsum = nnx.Einsum("BTD,CKDH->CBTKH", (2, k, d, h), rngs=rngs)
            self.attn_vec_einsum = nnx.Einsum("BTNH,NHD->BTD", (n, h, d), rngs=rngs)
        else:
            self.q_proj = nnx.Einsum("BTD,DNH->BTNH", (d, n, h), rngs=rngs)
            self.k_proj = nnx.Einsum("BTD,DKH->BTKH", (d, k, h), rngs=rngs)
            self.v_proj = nnx.Einsum("BTD,DKH->BTKH", (d, k, h), rngs=rngs)
            self.o_proj = nnx.Einsum("BTNH,NHD->BTD", (n, h, d), rngs=rngs)
            self.q_norm = nnx.RMSNorm(h, epsilon=config.norm_eps, scale_init=nnx.initializers.normal(1.0), rngs=rngs)
            self.k_norm = nnx.RMSNorm(h, epsilon=config.norm_eps, scale_init=nnx.initializers.normal(1.0), rngs=rngs)
        self.dropout = nnx.Dropout(0.0, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.is_gemma:
            q, (k, v) = self.q_einsum(x), self.kv_einsum(x)
        else:
            q, k, v = self.q_norm(self.q_proj(x)), self.k_norm(self.k_proj(x)), self.v_proj(x)
        q, k = _rotated(q, self.theta) * q.shape[-1] ** -0.5, _rotated(k, self.theta)
        k, v = (jnp.repeat(y, q.shape[2] // y.shape[2], axis=2) for y in (k, v))
        scores = jnp.einsum("BTNH,BSNH->BNTS", q, k)
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))[None, None]
        z = jnp.einsum("BNTS,BSNH->BTNH", jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1), v)
        return self.attn_vec_einsum(z) if self.is_gemma else self.o_proj(z)


class MLP(nnx.Module):
    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.gate_proj = nnx.Linear(config.d_model, config.d_ff, use_bias=False, rngs=rngs)
        self.up_proj = nnx.Linear(config.d_model, config.d_ff, use_bias=False, rngs=rngs)
        self.down_proj = nnx.Linear(config.d_ff, config.d_model, use_bias=False, rngs=rngs)
        self.act = nnx.gelu if config.gain_offset == 1 else nnx.silu

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class GemmaNorm(nnx.Module):
    """Adds 1 to its scale."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.scale = nnx.Param(0.3 * jax.random.normal(rngs.params(), config.d_model))
        self.epsilon = config.norm_eps

    def __call__(self, x: jax.Array) -> jax.Array:
        sigma = jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + self.epsilon)
        return x / sigma * (1 + self.scale[...])[None, None]


def _norm(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    if config.gain_offset == 1:
        return GemmaNorm(config, rngs)
    drawn = nnx.initializers.normal(1.0)
    return nnx.RMSNorm(config.d_model, epsilon=config.norm_eps, scale_init=drawn, rngs=rngs)


class Qwen3Layer(nnx.Module):
    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.input_layernorm = _norm(config, rngs)
        self.attn = Attention(config, rngs)
        self.post_attention_layernorm = _norm(config, rngs)
        self.mlp = MLP(config, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class GemmaLayer(nnx.Module):
    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.pre_attention_norm = _norm(config, rngs)
        self.attn = Attention(config, rngs)
        self.post_attention_norm = None  # Gemma 2 has one
        self.pre_ffw_norm = _norm(config, rngs)
        self.mlp = MLP(config, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attn(self.pre_attention_norm(x))
        return x + self.mlp(self.pre_ffw_norm(x))


class Transformer(nnx.Module):
    """Gemma, with the embedding's table for its logits, or Qwen 3, with an unembedding of its own."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.is_gemma = config.gain_offset == 1
        self.embedder = nnx.Embed(config.vocab_size, config.d_model, rngs=rngs)
        layer = GemmaLayer if self.is_gemma else Qwen3Layer
        self.layers = nnx.List([layer(config, rngs) for _ in range(config.n_layers)])
        self.final_norm = _norm(config, rngs)
        if not self.is_gemma:
            self.lm_head = nnx.Einsum("BTD,DV->BTV", (config.d_model, config.vocab_size), rngs=rngs)

    def __call__(self, ids: jax.Array) -> jax.Array:
        x = self.embedder(ids)
        x = x * x.shape[-1] ** 0.5 if self.is_gemma else x
        for layer in self.layers:
            x = layer(x)
        x = self.final_norm(x)
        return self.embedder.attend(x) if self.is_gemma else self.lm_head(x)
