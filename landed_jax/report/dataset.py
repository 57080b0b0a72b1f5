"""All that one run found out, as one labelled dataset."""

import json
from typing import TYPE_CHECKING, Any

from landed_jax.analysis.attribution.faithfulness import Faithfulness
from landed_jax.report.account import Account
from landed_jax.report.sections import PERCENTS, Effects
from landed_jax.results.dataset import to_xarray

if TYPE_CHECKING:
    import xarray


def run_dataset(account: Account) -> "xarray.Dataset":
    """Every result of the run, its variables under its name, such as ``attribution.landed.heads``."""
    import xarray as xr

    results: dict[str, Any] = {"attribution": account.attribution, "difference": account.difference}
    for name, found in account.sections.items():
        if isinstance(found, Effects):
            results |= {f"effects.{measure}": part for measure, part in found.faithfulness.items()}
            results["effects.volume"] = found.volume
        else:
            results[name] = found
    parts = []
    for name, result in results.items():
        if result is not None:
            # The sums that agreement is made of mean little alone; all other derived numbers follow from what is kept.
            part = to_xarray(result, account.trace, derived=isinstance(result, Faithfulness))
            parts.append(part.rename({variable: f"{name}.{variable}" for variable in part.data_vars}).drop_attrs())
    whole = xr.merge(parts, compat="equals", join="exact")
    if "coordinates" in account.sections:
        whole = whole.assign_coords(fraction=[percent / 100 for percent in PERCENTS])
    if "lens" in account.sections:
        whole = whole.assign_coords(group=list(account.sections["lens"].values.groups))
    described: dict[str, Any] = {"model": account.model, "prompt": account.prompt}
    for which in ("target", "against"):
        if (token := account.token(account.attribution, which)) is not None:
            described |= {which: token["text"], f"{which}_id": token["id"]}
    config = json.dumps(account.config.to_dict(), ensure_ascii=False)
    return whole.assign_attrs(described, config=config)
