"""All that one run found out, as one labelled dataset."""

import json
from typing import TYPE_CHECKING, Any

from landed_jax.printable import printable
from landed_jax.report.account import Account
from landed_jax.report.sections.section import Section
from landed_jax.results.dataset import to_xarray

if TYPE_CHECKING:
    import xarray


def run_dataset(account: Account) -> "xarray.Dataset":
    """Every result of the run, its variables under its name, such as ``attribution.landed.heads``."""
    import xarray as xr

    results = {"attribution": account.attribution, "difference": account.difference}
    parts = [_under(name, to_xarray(result)).drop_attrs() for name, result in results.items() if result is not None]
    layers = to_xarray(account.layer_effects, account.provenance, axes=("layer", "part")).rename(value="layer_effects")
    parts.append(layers.assign_coords(part=["attention", "mlp"]).drop_attrs())
    for section, found in account.sections.items():
        parts += [_section_part(account, section, name, result) for name, result in found.items()]
    whole = xr.merge(parts, compat="equals", join="exact")
    # NetCDF's text holds no NUL, and no lone surrogate. The ids are in the data set as they are.
    described: dict[str, Any] = {
        "model": printable(account.model),
        "prompt": printable(account.prompt),
        "precision": account.precision,
    }
    if account.notes:
        described["notes"] = json.dumps(account.notes)
    for which in ("target", "against"):
        if (token := account.token(account.attribution, which)) is not None:
            described |= {which: printable(token["text"]), f"{which}_id": token["id"]}
    config = json.dumps(account.config.to_dict(), ensure_ascii=False)
    return whole.assign_attrs(described, config=config)


def _section_part(account: Account, section: Section, name: str, result: Any) -> "xarray.Dataset":
    """One result of a section: a plain array is a variable of the result's name."""
    path = f"{section.name}.{name}"
    if name in section.axes:
        part = to_xarray(result, account.provenance, axes=section.axes[name].split()).rename(value=path)
    else:
        part = _under(path, to_xarray(result, derived=name in section.derived))
    known = {axis: values for axis, values in section.coordinates.items() if axis in part.dims}
    return part.assign_coords(known).drop_attrs()


def _under(name: str, part: "xarray.Dataset") -> "xarray.Dataset":
    return part.rename({variable: f"{name}.{variable}" for variable in part.data_vars})
