"""`--effects`: how far landed contributions are from direct effects, by what is measured; and who acts through σ."""

import math
from typing import TYPE_CHECKING, Any

from landed_jax.report.sections.section import Asked, Section
from landed_jax.results.measures import MEASURES

if TYPE_CHECKING:
    from landed_jax.report.account import Account
    from landed_jax.tables.table import Table

_LISTED = 10  # writes in the JSON
_ROWS = 5  # writes in the table


def _compute(asked: Asked) -> dict[str, Any]:
    """The agreement of each measure, and the volume: of the centred logit, or of the difference that the run reads."""
    from landed_jax.analysis.attribution._frozen_sigma_agreement import frozen_sigma_agreement
    from landed_jax.analysis.attribution._log_probability import attribute_log_probability
    from landed_jax.analysis.attribution._volume import volume
    from landed_jax.analysis.reads._questions import Logit

    trace, question, target = asked.trace, asked.question, asked.question.target
    logit = Logit(target) if question.against is not None else question
    found: dict[str, Any] = {
        "logit": frozen_sigma_agreement(trace, logit),
        "centred logit": frozen_sigma_agreement(trace, Logit(target, centred=True)),
        "log-probability": attribute_log_probability(trace, target).frozen_sigma_agreement,
    }
    if asked.difference is not None:
        found["logit difference"] = frozen_sigma_agreement(trace, asked.difference)
    return found | {"volume": volume(trace, target if question.against is None else question)}


def _document(account: "Account", found: dict[str, Any]) -> dict[str, Any]:
    def agreement(part: Any) -> dict[str, float | None]:
        return {"nmae": _number(part.nmae[0, 0]), "correlation": _number(part.correlation[0, 0])}

    fields = ("kind", "layer", "index", "mediated", "landed", "ratio", "weak", "score", "sigma_share")
    # The difference is to the token that the run was given, or to the runner-up.
    difference = account.attribution if account.difference is None else account.difference
    return {
        "against": account.token(difference, "against"),
        "landed_against_direct": {
            name: {"heads": agreement(measure.heads), "neurons": agreement(measure.neurons)}
            for name in MEASURES  # JAX gives a dictionary back in the order of its keys
            if (measure := found.get(name)) is not None
        },
        "volume_of": "centred logit" if account.attribution.against is None else "logit difference",
        "volume": [{field: getattr(row, field) for field in fields} for row in found["volume"].top(_LISTED)],
    }


def _number(value: Any) -> float | None:
    """A plain number; None for one that is not finite, which JSON does not have."""
    plain = float(value)
    return plain if math.isfinite(plain) else None


def _table(account: "Account", found: dict[str, Any], document: dict[str, Any]) -> "list[Table]":
    return [_agreement(document), _acting_through_sigma(found, document)]


def _agreement(document: dict[str, Any]) -> "Table":
    from landed_jax.tables.quoted import Quoted
    from landed_jax.tables.table import Column, Table

    columns = [
        Column("of the", left=True, wrap=True),
        Column("over", left=True),
        Column("NMAE", legend="NMAE: Σ|landed − direct effect| / Σ|direct effect|, over all layers' components here"),
        Column("r", legend="r: Pearson's correlation"),
    ]
    rows = []
    for name, parts in document["landed_against_direct"].items():
        for part, numbers in parts.items():
            shown = [numbers["nmae"], numbers["correlation"]]
            cells = ["" if v is None else form.format(v) for v, form in zip(shown, ("{:.1%}", "{:+.3f}"), strict=True)]
            rows.append([name, part, *cells])
    other = document["against"]
    notes = [] if other is None else [["The logit difference is to", Quoted(other["text"], after=".")]]
    return Table("Landed contribution (σ fixed) against direct effect (σ live)", columns, rows, keys=2, notes=notes)


def _acting_through_sigma(found: dict[str, Any], document: dict[str, Any]) -> "Table":
    from landed_jax.analysis.writes._write import describe
    from landed_jax.tables.table import Column, Table

    columns = [
        Column("write", left=True),
        Column("score", drop=3),
        Column("through σ", legend="through σ: direct effect less landed contribution"),
        Column("itself", legend="itself: landed contribution"),
        Column("weak part", drop=2, legend="weak part: of the landed write, where the unembedding hardly reads"),
        Column("σ share", drop=1),
    ]
    rows = [
        [
            describe(row),
            f"{row.score:.4f}",
            f"{row.mediated:+.4f}",
            f"{row.landed:+.4f}",
            f"{row.weak:.1%}",
            f"{row.sigma_share:+.2%}",
        ]
        for row in found["volume"].top(_ROWS)
    ]
    return Table(f"Writes that act on the {document['volume_of']} through σ", columns, rows, elsewhere="--json")


SECTION = Section(
    name="effects",
    help="Also: landed against direct effects, and which writes act through σ. Slow for large models: it takes the "
    "whole vocabulary's logits without each write.",
    compute=_compute,
    json_field="effects",
    document=_document,
    table=_table,
    derived=MEASURES,  # what agreement is kept as, sums over the components, means little alone
    place=2,
)
