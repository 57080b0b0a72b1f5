"""Public claims, measured on a model over many prompts, each with an interval and a verdict."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landed_jax.claims._claim import Claim, Reading, Rows
from landed_jax.claims._prompts import default_prompts
from landed_jax.claims._registry import claims as all_claims
from landed_jax.errors import LandedError, shown
from landed_jax.intervals import bootstrap
from landed_jax.manifest import manifest_of
from landed_jax.model import Model, Prompts
from landed_jax.nn.hook_points import WRITES
from landed_jax.numerics import compute_dtype
from landed_jax.prompts import read_prompts, warn_of
from landed_jax.tokens import Tokens

if TYPE_CHECKING:
    import pandas

_TOGETHER = 16  # prompts of a pass
_COLUMNS = 8  # lengths are padded to a multiple, so that passes share programs
OWN_PROMPTS, IN_PYTHON, STANDARD_INPUT = "the package's own", "given in Python", "standard input"
HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"

Progress = Callable[[int, int], None]
"""``progress(done, total)``, called as prompts finish."""


@dataclass(frozen=True)
class Measured:
    """A reading's value on one model.

    Attributes:
        value: over all prompts, in the reading's unit.
        low, high: its 95 % interval over prompts (bootstrap, percentiles).
        prompts: how many.
        reason: why the claim is not about this model; "" where it is.
    """

    claim: Claim
    reading: Reading
    value: float
    low: float
    high: float
    prompts: int
    reason: str

    @property
    def verdict(self) -> str:
        """Whether the claim holds under this reading: not decided where the interval holds both."""
        if self.reason or np.isnan([self.value, self.low, self.high]).any():
            return f"does not apply: {self.reason or 'nothing was measured'}"
        found = {self.reading.holds(bound) for bound in (self.low, self.value, self.high)}
        return OPEN if len(found) == 2 else HOLDS if found == {True} else FAILS


@dataclass(frozen=True)
class Reproduction:
    """All readings of all claims, on one model.

    It shows itself as the table of ``landed reproduce``.

    Attributes:
        model: what the model was opened by.
        manifest: what made the numbers: the weights' and the prompts' SHA-256, versions, device, precision, seed,
            command.
    """

    model: str
    measured: tuple[Measured, ...]
    manifest: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The object of ``landed reproduce --json``."""
        from landed_jax.report.claims import claims_document

        return claims_document(self)

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a reading."""
        import pandas

        return pandas.DataFrame(self.to_dict()["readings"])

    def __repr__(self) -> str:
        from landed_jax.report.claims import claims_report
        from landed_jax.tables.draw import text_of
        from landed_jax.tables.screen import standard_output

        return text_of(claims_report(self), standard_output())

    def _repr_html_(self) -> str:
        from landed_jax.report.claims import claims_report
        from landed_jax.tables.html import html_of

        return html_of(claims_report(self))


def reproduce(
    model: Model,
    prompts: Prompts | None = None,
    *,
    claims: Sequence[str] | None = None,
    count: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
    source: str = "",
    command: str = "",
) -> Reproduction:
    """Measure the public claims about landed writes on a model.

    Each claim has several readings, since its words allow several; each is measured at real tokens, first tokens apart,
    with an interval over prompts. A claim about another model is measured all the same, without a verdict.

    Args:
        prompts: by default `count` prompts of the tasks that ship with the package.
        claims: the names of some of `claims()`; by default all.
        count: how many default prompts.
        seed: of the default prompts and of the intervals.
        progress: called with the number of finished prompts and of all.
        source: the file that `prompts` come from, for the manifest.
        command: what was asked, as it was written, for the manifest.

    Raises:
        LandedError: for a claim that there is not, and what `model.trace` refuses.

    References:
        O'Donnell, Using Landed Writes, LessWrong, 2025 (the claims); Efron & Tibshirani, An Introduction to the
        Bootstrap, 1993 (percentile intervals).

    >>> from landed_jax import load
    >>> found = reproduce(load(), count=16, claims=["same scale"])
    >>> {one.verdict for one in found.measured if "first tokens" in one.reading.name}
    {'holds'}
    """
    chosen = _chosen(claims)
    given = default_prompts(model, count, seed=seed) if prompts is None else prompts
    tokens, said = read_prompts(given, model.vocabulary, model.config, model.no_vocabulary)
    warn_of(said)
    rows: dict[str, list[dict[str, Rows]]] = {claim.name: [] for claim in chosen}
    batches = _batches(tokens)
    for done, batch in enumerate(batches, start=1):
        trace = model.trace(batch, record=WRITES)
        for claim in chosen:
            rows[claim.name].append({name: np.asarray(part) for name, part in claim.measure(model, trace).items()})
        if progress is not None:
            progress(min(done * _TOGETHER, len(tokens.ids)), len(tokens.ids))
    measured = [one for claim in chosen for one in _measured(model, claim, rows[claim.name], seed)]
    manifest = manifest_of(
        model,
        prompts={
            "source": OWN_PROMPTS if prompts is None else source or IN_PYTHON,
            "count": count,
            "seed": seed,
            "digest": _digest(tokens),
        },
        dtype=compute_dtype(None),
        command=command,
        claims=[claim.name for claim in chosen],
    )
    return Reproduction(model.source, tuple(measured), manifest)


def _digest(tokens: Tokens) -> str:
    ids, mask = np.asarray(tokens.ids), np.asarray(tokens.mask)
    lists = [row[there].tolist() for row, there in zip(ids, mask, strict=True)]
    return hashlib.sha256(json.dumps(lists).encode()).hexdigest()


def _chosen(names: Sequence[str] | None) -> list[Claim]:
    known = all_claims()
    if names is not None and not names:
        raise LandedError(f"Name at least one claim: there are {', '.join(known)}.")
    for name in names or ():
        if name not in known:
            raise LandedError(f"There is no claim {shown(name)}: these are {', '.join(known)}.")
    return [known[name] for name in (known if names is None else names)]


def _batches(tokens: Tokens) -> list[Tokens]:
    """The prompts from the shortest to the longest, padded on the left to few lengths."""
    ids, mask = np.asarray(tokens.ids), np.asarray(tokens.mask)
    order = np.argsort(mask.sum(axis=1), kind="stable")
    found = []
    for first in range(0, len(order), _TOGETHER):
        lists = [ids[row][mask[row]].tolist() for row in order[first : first + _TOGETHER]]
        found.append(Tokens.from_lists(lists).padded(_COLUMNS))
    return found


def _measured(model: Model, claim: Claim, batches: Sequence[dict[str, Rows]], seed: int) -> list[Measured]:
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    found = []
    for reading in claim.readings(model.config):
        rows = whole[reading.rows]
        value = float(reading.value(rows))
        low, high = bootstrap(rows, functools.partial(_number, reading), seed=seed)
        reason = reading.applies(model.config)
        found.append(Measured(claim, reading, value, low, high, len(rows), reason))
    return found


def _number(reading: Reading, rows: Rows) -> float:
    return float(reading.value(rows))
