"""One prompt's account as plain values: the JSON that scripts rely on."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from landed_jax.analysis.attribution._table import WriteRow
from landed_jax.analysis.writes._write import next_site
from landed_jax.report.account import Account
from landed_jax.report.layers_table import embedding_effects, layer_rows
from landed_jax.report.prediction import Chances
from landed_jax.report.scale import scale_rows
from landed_jax.report.writes_table import in_difference, of_writes


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
        "bias": float(landed.bias[0, 0] + shares.offset[0, 0]),
        "heads": np.asarray(landed.heads[:, 0, 0], float).tolist(),
        "mlp": np.asarray(jnp.sum(landed.neurons, -1)[:, 0, 0], float).tolist(),
        "top_writes": _top_writes(account, top),
        "scale": scale_rows(account),
        "coordinates": {f"for_{percent}": count for percent, count in account.coordinate_counts.items()},
        "position_embedding": 0.0 if landed.position_embedding is None else float(landed.position_embedding[0, 0]),
        "embedding_direct_effect": embedding_effects(account).get("embedding"),
        "position_embedding_direct_effect": embedding_effects(account).get("position_embedding"),
        "layers": layer_rows(account),
        "runner_up": _runner_up(account),
        "prediction": _prediction(account),
        "notes": list(account.notes),
        "precision": account.precision,
    }
    if account.capped is not None:
        document["capped_logit"] = float(account.capped.value[0, 0])
    return document | {
        section.json_field: section.document(account, found) for section, found in account.sections.items()
    }


def _top_writes(account: Account, top: int) -> list[dict[str, Any]]:
    rows = account.attribution.top(top)
    beside = in_difference(rows, account.difference) or [None] * len(rows)
    written = [
        _row(account, row) | {"difference": pair and {"landed": pair[0], "direct_effect": pair[1]}}
        for row, pair in zip(rows, beside, strict=True)
    ]
    if account.capped is None:
        return written
    effects = of_writes(rows, account.capped.effect, account.attribution)
    return [row | {"capped_effect": effect} for row, effect in zip(written, effects, strict=True)]


def _row(account: Account, row: WriteRow) -> dict[str, Any]:
    expert = ("expert",) if account.config.n_experts else ()
    fields = ("kind", "layer", *expert, "index", "landed", "direct_effect", "sigma_share", "amplification")
    source = None
    if row.attended is not None:
        token = account.token_ids[row.attended]
        source = {"position": row.attended, "id": token, "text": row.attended_text, "landed": row.attended_landed}
    document = {field: getattr(row, field) for field in fields} | {"source": source}
    # A block that reads the stream itself amplifies nothing.
    normed = account.config.has_norm(next_site(row, account.config))
    return document if normed else document | {"amplification": None}


def _runner_up(account: Account) -> dict[str, Any] | None:
    """The likeliest other token, and the logit difference to it."""
    difference = account.difference
    if difference is None or (token := account.token(difference, "against")) is None:
        return None
    return token | {
        "difference": float(difference.value[0, 0]),
        "sum_of_landed": float(difference.total[0, 0]),
        "closure_error": float(difference.closure_error[0, 0]),
    }


def _prediction(account: Account) -> dict[str, Any]:
    asked, likeliest = _chances(account, account.prediction.asked), _chances(account, account.prediction.likeliest)
    return {"target": asked[0], "against": asked[1] if len(asked) > 1 else None, "likeliest": likeliest}


def _chances(account: Account, chances: Chances) -> list[dict[str, Any]]:
    log_probabilities = np.asarray(chances.log_probabilities, float)
    return [
        {
            "id": token,
            "text": account.vocabulary.text(token),
            "logit": float(chances.logits[i]),
            "probability": float(np.exp(log_probabilities[i])),
            "log_probability": float(log_probabilities[i]),
            "rank": int(chances.ranks[i]),
        }
        for i, token in enumerate(chances.ids.tolist())
    ]
