"""The page for people: the sections in Markdown, ratios first."""

from collections.abc import Callable

from benchmarks.bars import judged
from benchmarks.results import Measured, Section, Sections
from benchmarks.roofline import fraction
from benchmarks.shapes import shape

BASES = (("ours-forward", "own forward"), ("torch-forward", "torch forward"))
RIVALS = (
    ("ours-forward", "torch-forward"),
    ("ours-forward-last", "torch-forward-last"),
    ("ours-last", "hooks-last"),
    ("ours-all", "hooks-all"),
    ("ours-products", "torch-products"),
    ("ours-projections", "torch-projections"),
)


def render(sections: Sections) -> str:
    """The whole page, from whatever sections there are."""
    parts = [
        "# Results",
        "Every ratio is the median over rounds of one time over another of the same round. `ours-…` is this package, "
        "`torch-…` is `transformers`, `hooks-…` the hand-written [torch hooks](torch_hooks.py), `lens-…` "
        "TransformerLens. `…-last` attributes the last position's own top token, `…-all` each position's own; "
        "`ours-effects` adds direct effects and σ shares, with `output_norms` made before, `ours-effects-anew` makes "
        "them in the call; `lens-stack` asks for the full stack of writes; `…-products` are the products of a forward "
        "pass with its weights and nothing else, `…-projections` those that an attribution adds, in either library. "
        "All models are random, float32, one prompt; see [`shapes.py`](shapes.py).",
    ]
    for name, write in (("timing", _timing), ("memory", _memory), ("scaling", _scaling)):
        if name in sections:
            parts += write(sections[name])
    return "\n\n".join(parts) + "\n"


def _heading(title: str, section: Section) -> list[str]:
    facts = "; ".join(f"{name} {value}" for name, value in section.machine.items())
    rounds = f" Rounds: {section.repeats} or more." if section.repeats else ""
    return [f"## {title}", f"`{section.command}`", f"{facts}.{rounds}"]


def _timing(section: Section) -> list[str]:
    parts = _heading("Time", section)
    bars = [
        [f"{bar.one} / {bar.other} ≤ {bar.limit:.2f}", size, str(length), f"{ratio:.2f}", _yes(ratio <= bar.limit)]
        for bar, size, length, ratio in judged(section)
    ]
    if bars:
        parts += ["### Bars", _table(["bar", "size", "tokens", "ratio", "held"], bars)]
    for base, title in BASES:
        if base in section.contestants():
            parts += [f"### Over {title}", _grid(section, lambda row, base=base: _over(section, row, base))]
    rivals = [
        [f"{one} / {other}", size, str(length), f"{ratio:.2f}"]
        for one, other in RIVALS
        for size, length in section.settings()
        if (ratio := section.ratio(one, other, size, length)) is not None
    ]
    if rivals:
        parts += ["### Against the rival", _table(["ratio", "size", "tokens", "median"], rivals)]
    parts += ["### Milliseconds: median (least–most)", _grid(section, _milliseconds)]
    parts += ["### Seconds to compile", _grid(section, lambda row: _number(row.compile_s, "{:.1f}"))]
    parts += ["### Closure error over the largest logit, all positions", _grid(section, _closure)]
    device = section.machine.get("device", "")
    if any(_fraction(device, row) for row in section.rows):
        parts += ["### Of the roofline", _grid(section, lambda row: _fraction(device, row))]
    notes = [[row.contestant, row.size, str(row.length), row.note] for row in section.rows if row.note]
    return [*parts, "### What did not run", _table(["contestant", "size", "tokens", "why"], notes)] if notes else parts


def _memory(section: Section) -> list[str]:
    return [
        *_heading("Peak memory above the weights, MiB", section),
        "Each figure is of a process of its own, its program compiled and its libraries warm, with one heap "
        "(`MALLOC_ARENA_MAX=1`). On an accelerator it is "
        "the compiled program's own account (results and temporaries).",
        _grid(section, lambda row: row.note or _number(row.peak_bytes and row.peak_bytes / 2**20, "{:,.0f}")),
    ]


def _scaling(section: Section) -> list[str]:
    return [
        *_heading("Scaling", section),
        "![Cost by length and by depth, measured and predicted](scaling.svg)",
        "### Milliseconds: median (least–most), by length and by depth (`125M/4`: the same with 4 layers)",
        _grid(section, _milliseconds),
    ]


def _grid(section: Section, cell: Callable[[Measured], str]) -> str:
    """A row a contestant, a column a size and length; contestants with nothing to say are left out."""
    settings = section.settings()
    rows = []
    for name in section.contestants():
        found = [section.find(name, size, length) for size, length in settings]
        cells = [cell(row) if row is not None else "" for row in found]
        if any(cells):
            rows.append([name, *cells])
    return _table(["", *(f"{size}, {length}" for size, length in settings)], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _over(section: Section, row: Measured, base: str) -> str:
    return _number(section.ratio(row.contestant, base, row.size, row.length), "{:.2f}") or row.note


def _milliseconds(row: Measured) -> str:
    if row.median is None:
        return row.note
    middle, least, most = (f"{1000 * s:,.4g}" for s in (row.median, min(row.seconds), max(row.seconds)))
    return f"{middle} ({least}–{most})"


def _closure(row: Measured) -> str:
    if row.closure_error is None or not row.largest_value:
        return ""
    return f"{row.closure_error / row.largest_value:.1e}"


def _fraction(device: str, row: Measured) -> str:
    if row.median is None:
        return ""
    return _number(fraction(device, row.contestant, shape(row.size), row.length, row.median), "{:.0%}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _yes(held: bool) -> str:
    return "yes" if held else "**no**"
