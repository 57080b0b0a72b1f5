"""Counts of operations and bytes of each contestant, from the shapes alone."""

from landed_jax import ModelConfig
from landed_jax.nn.parameters import count_parameters


def forward_flops(config: ModelConfig, length: int, *, logits: int | None = None) -> int:
    """A forward pass: its products, causal attention, the logits of `logits` positions (default all)."""
    d, heads, keys = config.d_model, config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    products = 2 * length * d * (2 * heads + 2 * keys + 3 * config.d_ff)
    attention = 2 * length * (length + 1) * heads
    return config.n_layers * (products + attention) + 2 * (length if logits is None else logits) * d * config.vocab_size


def projection_flops(config: ModelConfig, positions: int) -> int:
    """One product of a vector per position with the output matrices of every layer."""
    return 2 * positions * config.d_model * config.n_layers * (config.n_heads * config.head_dim + config.d_ff)


def norm_flops(config: ModelConfig) -> int:
    """The weights' part of all squared norms of writes: a Gram matrix per head, a column norm per neuron."""
    gram = 2 * config.n_heads * config.head_dim**2 * config.d_model
    return config.n_layers * (gram + 2 * config.d_model * config.d_ff)


def flops(name: str, config: ModelConfig, length: int) -> int | None:
    """The operations of a contestant; None for one whose method is not counted."""
    whole, short = forward_flops(config, length), forward_flops(config, length, logits=1)
    every = projection_flops(config, length)
    heads = 2 * length * config.n_layers * config.n_heads * config.head_dim**2  # heads' norms, by Gram matrices
    counts = {
        "forward": whole,
        "forward-last": short,
        "last": short + projection_flops(config, 1),
        "all": whole + every,
        "effects": whole + 2 * every + heads,
        "effects-anew": whole + 2 * every + heads + norm_flops(config),
        "top-1": whole + every,
        "top-2": whole + short + every,
    }
    side, _, what = name.partition("-")
    return counts.get(what) if side in ("ours", "torch", "hooks") else None


def bytes_moved(name: str, config: ModelConfig, length: int) -> int:
    """The least memory traffic: every weight read once, and the results written once."""
    shares = config.n_layers * (config.n_heads + config.d_ff)
    effects = 3 * length * shares
    results = {"all": length * shares, "effects": effects, "effects-anew": effects, "last": shares}
    what = name.partition("-")[2]
    return 4 * (count_parameters(config) + results.get(what, length * config.vocab_size))
