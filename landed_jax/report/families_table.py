"""The model families as a table."""

from landed_jax.families import Family, Wrapper, families, wrappers
from landed_jax.report.parity import LastMeasured, last_measured
from landed_jax.report.switches import switch_words
from landed_jax.tables.table import Column, Table


def families_table() -> Table:
    """Each family: its name in config.json, class, switches, last measured errors, examples; then what holds one."""
    measured = last_measured()
    against = ", ".join(f"{name} {version}" for name, version in measured.versions.items())
    legend = (
        f"The largest errors over so many tiny models of each family, in units of the largest value, last measured on "
        f"{measured.date} ({against}): logits against transformers; closure, of landed writes from what each norm put "
        f"out, at every norm; direct effects against brute force. The last two are in float64."
    )
    columns = [
        Column("family", left=True),
        Column("class in transformers", left=True, drop=2),
        Column("has, or may have", left=True, wrap=True),
        Column("models\nmeasured", drop=3, group=1),
        Column("logits\nfloat32", group=1, legend=legend),
        Column("logits\nfloat64", group=1),
        Column("closure", group=1),
        Column("direct\neffects", group=1),
        Column("for example", left=True, drop=1, wrap=True),
    ]
    kinds = [*families().values(), *wrappers().values()]
    return Table("Model families", columns, [_row(kind, measured) for kind in kinds])


def _row(kind: Family | Wrapper, measured: LastMeasured) -> list[str]:
    has = f"a text model: {' or '.join(kind.texts)}" if isinstance(kind, Wrapper) else switch_words(kind.held)
    count, *errors = measured.found[kind.name]
    shown = [f"{error:.0e}" for error in errors]
    return [kind.name, kind.architecture, has, str(count), *shown, ", ".join(kind.examples)]
