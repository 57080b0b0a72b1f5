"""Embedding and each layer's attention and MLP writes: a short list that sums to the value."""

from typing import Any

import numpy as np

from landed_jax.report.account import Account
from landed_jax.tables.table import Column, Table


def layer_rows(account: Account) -> list[dict[str, Any]]:
    """For each layer ``{"attention": {"landed", "direct_effect"}, "mlp": …}``, biases included."""
    landed = account.attribution.landed
    attention = np.sum(landed.heads[:, 0, 0], axis=-1) + landed.attn_bias[:, 0, 0]
    mlp = np.sum(landed.neurons[:, 0, 0], axis=-1) + landed.mlp_bias[:, 0, 0]
    return [
        {
            name: {"landed": float(sums[layer]), "direct_effect": float(account.layer_effects[layer, part])}
            for part, (name, sums) in enumerate((("attention", attention), ("mlp", mlp)))
        }
        for layer in range(account.config.n_layers)
    ]


def embedding_effect(account: Account) -> float | None:
    """The direct effect of the embedding."""
    effect = account.attribution.direct_effect
    return None if effect is None else float(effect.embedding[0, 0])


def layers_table(account: Account) -> Table:
    """Landed contribution and direct effect of every layer's attention and MLP, and of the embedding."""
    columns = [
        Column("layer", left=True),
        Column("attention\nlanded", group=1),
        Column("attention\ndirect", group=1),
        Column("MLP\nlanded", group=2),
        Column("MLP\ndirect", group=2),
    ]
    effect = embedding_effect(account)
    embedding = f"{float(account.attribution.landed.embedding[0, 0]):+.4f}"
    rows = [["embedding", embedding, "" if effect is None else f"{effect:+.4f}", "", ""]]
    for layer, parts in enumerate(layer_rows(account)):
        numbers = (part[name] for part in parts.values() for name in ("landed", "direct_effect"))
        rows.append([str(layer), *(f"{number:+.4f}" for number in numbers)])
    total = float(account.attribution.total[0, 0])
    note = (
        f"The landed columns sum to {total:+.4f}; a direct effect is of a part removed alone, later layers as they ran."
    )
    return Table("By layer, biases included", columns, rows, notes=[note], elsewhere="--json")
