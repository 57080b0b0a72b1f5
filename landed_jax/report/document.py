"""One prompt's account as plain values: the JSON that scripts rely on."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.attribution._table import WriteRow
from landed_jax.report.account import Account
from landed_jax.report.scale import scale_rows


def run_document(account: Account, top: int) -> dict[str, Any]:
    """The JSON object of ``landed run --json``."""
    shares = account.attribution
    landed = shares.landed
    document = {
        "model": account.model,
        "prompt": account.prompt,
        "tokens": account.tokens(),
        "token_ids": account.token_ids,
        "position": account.position,
        "target": account.token(shares, "target"),
        "against": account.token(shares, "against"),
        "logit": float(shares.value[0, 0]),
        "sum_of_landed": float(shares.total[0, 0]),
        "closure_error": float(shares.closure_error[0, 0]),
        "embedding": float(landed.embedding[0, 0]),
        "bias": float(landed.bias[0, 0]),
        "heads": np.asarray(landed.heads[:, 0, 0], float).tolist(),
        "mlp": np.asarray(jnp.sum(landed.neurons, -1)[:, 0, 0], float).tolist(),
        "top_writes": [_row(row) for row in shares.top(top)] if top else [],
        "scale": scale_rows(account),
        "coordinates": {f"for_{percent}": count for percent, count in account.coordinate_counts.items()},
        "notes": list(account.notes),
    }
    return document | {
        section.json_field: section.document(account, found) for section, found in account.sections.items()
    }


def _row(row: WriteRow) -> dict[str, Any]:
    fields = ("kind", "layer", "index", "landed", "direct_effect", "sigma_share", "amplification")
    return {field: getattr(row, field) for field in fields}
