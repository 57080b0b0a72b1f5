"""The model families as a table."""

from landed_jax.families import families, wrappers
from landed_jax.tables.table import Column, Table

_WORDS = {
    "norm": "LayerNorm",
    "parallel_blocks": "parallel blocks",
    "gated_mlp": "MLP without a gate",
    "learned_positions": "learned positions",
    "qkv_bias": "q/k/v biases",
    "output_bias": "output bias",
    "mlp_bias": "MLP biases",
    "qk_norm": "q/k norms",
    "sliding_window": "sliding window",
    "windowed_layers": "window by layer",
    "rotary_layers": "rotary by layer",
    "local_rope": "rotary of its own in windows",
    "query_growth": "queries grow with position",
    "rotary_dim": "part of each head rotary",
    "gain_offset": "γ = 1 + weight",
    "embedding_scale": "scaled embedding",
    "input_norms": "blocks that read the stream itself",
    "output_norms": "norms behind blocks",
    "residual_scale": "scaled writes",
    "attention_scale": "scale of scores",
    "attention_cap": "capped scores",
    "logit_scale": "scaled logits",
    "logit_cap": "capped logits",
}


def families_table() -> Table:
    """Each family's name in config.json, its class, its switches, and an example; then models that hold a family's."""
    columns = [
        Column("family", left=True),
        Column("class in transformers", left=True, drop=2),
        Column("has, or may have", left=True, wrap=True),
        Column("for example", left=True, drop=1),
    ]
    rows = [
        [
            family.name,
            family.architecture,
            ", ".join(words for switch, words in _WORDS.items() if switch in family.held),
            family.examples[0],
        ]
        for family in families().values()
    ]
    rows += [
        [wrapper.name, wrapper.architecture, f"a text model: {' or '.join(wrapper.texts)}", wrapper.examples[0]]
        for wrapper in wrappers().values()
    ]
    return Table("Model families", columns, rows)
