"""One prompt's account as plain values: the JSON that scripts rely on."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from landed_jax.analysis.attribution import Attribution
from landed_jax.analysis.coordinates import Coordinates
from landed_jax.analysis.table import WriteRow
from landed_jax.trace import Trace, read_sites
from landed_jax.vocabulary import Vocabulary


@dataclass(frozen=True)
class Account:
    """What one run found out about one position of one prompt: everything that is printed comes from here.

    Attributes:
        trace: recorded at that position alone.
        difference: the attribution of the logit difference to the runner-up; None where `attribution` is one already.
    """

    model: str
    prompt: str
    position: int
    trace: Trace
    vocabulary: Vocabulary
    attribution: Attribution
    difference: Attribution | None
    coordinates: Coordinates

    def tokens(self) -> list[str]:
        return [self.vocabulary.text(int(i)) for i in self.token_ids()]

    def token_ids(self) -> list[int]:
        return [int(i) for i in self.trace.tokens.ids[0]]

    def named(self, attribution: Attribution, which: str) -> dict[str, Any] | None:
        """``{"id", "text"}`` of an attribution's target or against."""
        ids = getattr(attribution, which)
        if ids is None:
            return None
        return {"id": int(ids[0, 0]), "text": self.vocabulary.text(int(ids[0, 0]))}


def run_document(account: Account, top: int) -> dict[str, Any]:
    """The JSON object of ``landed run --json``."""
    shares, coordinates = account.attribution, account.coordinates
    landed = shares.landed
    return {
        "model": account.model,
        "prompt": account.prompt,
        "tokens": account.tokens(),
        "token_ids": account.token_ids(),
        "position": account.position,
        "target": account.named(shares, "target"),
        "against": account.named(shares, "against"),
        "logit": float(shares.value[0, 0]),
        "sum_of_landed": float(shares.total[0, 0]),
        "closure_error": float(shares.closure_error[0, 0]),
        "embedding": float(landed.embedding[0, 0]),
        "bias": float(landed.bias[0, 0]),
        "heads": np.asarray(landed.heads[:, 0, 0], float).tolist(),
        "mlp": np.asarray(landed.mlp[:, 0, 0], float).tolist(),
        "top_writes": [_row(row) for row in shares.top(top)] if top else [],
        "scale": scale_rows(shares, account.trace),
        "coordinates": {f"for_{percent}": int(coordinates.count(percent / 100)[0, 0]) for percent in (50, 90, 99)},
    }


def _row(row: WriteRow) -> dict[str, Any]:
    fields = ("kind", "layer", "index", "landed", "direct_effect", "sigma_share", "amplification")
    return {field: getattr(row, field) for field in fields}


def scale_rows(shares: Attribution, trace: Trace) -> list[dict[str, Any]]:
    """σ and the amplification at every read site."""
    scale = shares.scale
    return [
        {
            "site": site,
            "sigma": float(scale.sigma[i, 0, 0]),
            "amplification": {
                "min": float(scale.minimum[i, 0, 0]),
                "median": float(scale.median[i, 0, 0]),
                "max": float(scale.maximum[i, 0, 0]),
            },
        }
        for i, site in enumerate(read_sites(trace.config))
    ]
