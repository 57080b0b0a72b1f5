"""How far landed contributions are from direct effects, and who acts through σ, where the result has it."""

from landed_jax.page._blocks import Built, Column, Frame, TableOf
from landed_jax.page._words import write_name
from landed_jax.page.sections.section import Document, PageSection

_AGREEMENT = (
    Column("name", "of the", "text"),
    Column("over", "over", "text"),
    Column("nmae", "NMAE", "percent", "Σ|landed − direct effect| / Σ|direct effect|"),
    Column("correlation", "r", "number", "Pearson's correlation"),
)
_VOLUME = (
    Column("name", "write", "text"),
    Column("score", "score"),
    Column("mediated", "through σ", "number", "direct effect less landed contribution"),
    Column("landed", "itself", "number", "landed contribution"),
    Column("weak", "weak part", "percent", "of the landed write, where the unembedding hardly reads"),
    Column("sigma_share", "σ share", "percent"),
)


def _build(document: Document) -> Built | None:
    effects = document.get("effects")
    if effects is None:
        return None
    agreement = [
        {"measure": measure, "over": over, **numbers}
        for measure, parts in effects["landed_against_direct"].items()
        for over, numbers in parts.items()
    ]
    volume = [
        {"write": write_name(row["kind"], row["layer"], row["index"], row.get("expert")), "place": place, **row}
        for place, row in enumerate(effects["volume"])
    ]
    path = '["effects"]["landed_against_direct"]["{measure}"]["{over}"]'
    frames = {
        "agreement": Frame.of(agreement, "{measure}", {name: f'{path}["{name}"]' for name in ("nmae", "correlation")}),
        "volume": Frame.of(
            volume, "{write}", {c.key: f'["effects"]["volume"][{{place}}]["{c.key}"]' for c in _VOLUME[1:]}
        ),
    }
    blocks = [
        TableOf("agreement", "Landed contribution (σ fixed) against direct effect (σ live)", _AGREEMENT),
        TableOf("volume", f"Writes that act on the {effects['volume_of']} through σ", _VOLUME),
    ]
    return Built(blocks, frames)


SECTION = PageSection(name="effects", title="σ fixed and σ live", of="run", build=_build, place=11)
