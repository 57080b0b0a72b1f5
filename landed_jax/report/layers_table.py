"""Embedding and each layer's attention and MLP writes: a short list that sums to the value."""

from typing import Any

import numpy as np

from landed_jax.analysis.attribution._table import signed
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


def embedding_effects(account: Account) -> dict[str, float]:
    """The direct effects of the embeddings, by the names of `PerWrite`'s fields."""
    effect = account.attribution.direct_effect
    return {} if effect is None else {name: float(number[0, 0]) for name, number in effect.embeddings.items()}


def layers_table(account: Account) -> Table:
    """Landed contribution and direct effect of every layer's attention and MLP, and of the embeddings."""
    columns = [
        Column("layer", left=True),
        Column("attention\nlanded", group=1),
        Column("attention\ndirect", group=1),
        Column("MLP\nlanded", group=2),
        Column("MLP\ndirect", group=2),
    ]
    effects, embeddings = embedding_effects(account), account.attribution.landed.embeddings
    rows = [
        [name.replace("_", " "), f"{float(number[0, 0]):+.4f}", signed(effects.get(name)), "", ""]
        for name, number in embeddings.items()
    ]
    for layer, parts in enumerate(layer_rows(account)):
        numbers = (part[name] for part in parts.values() for name in ("landed", "direct_effect"))
        rows.append([str(layer), *(f"{number:+.4f}" for number in numbers)])
    if offset := float(account.attribution.offset[0, 0]):
        rows.append(["β of the norm", f"{offset:+.4f}", "", "", ""])
    total = float(account.attribution.total[0, 0])
    note = (
        f"The landed columns sum to {total:+.4f}; a direct effect is of a part removed alone, later layers as they ran."
    )
    return Table("By layer, biases included", columns, rows, notes=[note], elsewhere="--json")
