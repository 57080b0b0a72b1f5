"""The page of results: all sections in Markdown, ratios first."""

from collections.abc import Callable

from benchmarks.bars import Bar, judged, judged_by_memory
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
    """The page, from the sections that exist."""
    parts = [
        "# Results",
        "Every ratio is the median over rounds of one time over another of the same round. `ours-…` is this package, "
        "`torch-…` is `transformers`, `hooks-…` the hand-written [torch hooks](torch_hooks.py), `lens-…` "
        "TransformerLens. `…-last` attributes the last position's own top token, `…-all` each position's own; "
        "`ours-effects` adds direct effects and σ shares, with `weight_norms` made before, `ours-effects-anew` makes "
        "them in the call; `lens-stack` asks for the full stack of writes; `…-products` are the products of a forward "
        "pass with its weights and nothing else, `…-projections` those that an attribution adds, in either library. "
        "All models are random, float32, one prompt; see [`shapes.py`](shapes.py).",
    ]
    for name, write in (("timing", _timing), ("memory", _memory), ("scaling", _scaling)):
        if name in sections:
            parts += write(sections[name])
    return "\n\n".join(parts) + "\n"


def _heading(title: str, section: Section) -> list[str]:
    parts = [f"## {title}"]
    for run in section.runs:
        facts = "; ".join(f"{name} {value}" for name, value in run.machine.items())
        lengths: dict[str, list[str]] = {}
        for size, length in run.settings:
            lengths.setdefault(size, []).append(str(length))
        of = "" if len(section.runs) == 1 else "; ".join(f"{s} at {', '.join(n)}" for s, n in lengths.items()) + ": "
        parts.append(f"{of}`{run.command}` ({facts}).")
        if run.across_devices:
            parts.append("Torch ran on the CPU and JAX on an accelerator: nothing of the one is compared to the other.")
    return parts


def _verdicts(found: list[tuple[Bar, str, int, float]]) -> list[str]:
    rows = [[str(bar), size, str(length), f"{ratio:.2f}", _yes(bar.held(ratio))] for bar, size, length, ratio in found]
    return ["### Bars", _table(["bar", "size", "tokens", "ratio", "held"], rows)] if rows else []


def _timing(section: Section) -> list[str]:
    parts = _heading("Time", section) + _verdicts(judged(section))
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
    parts += ["### Milliseconds: median (least–most; rounds)", _grid(section, _milliseconds)]
    parts += ["### Seconds to compile", _grid(section, lambda row: _number(row.compile_s, "{:.1f}"))]
    parts += ["### Closure error over the largest logit, all positions", _grid(section, _closure)]
    if any(_fraction(section, row) for row in section.rows):
        parts += ["### Of the roofline", _grid(section, lambda row: _fraction(section, row))]
    notes = [[row.contestant, row.size, str(row.length), row.note] for row in section.rows if row.note]
    return [*parts, "### What did not run", _table(["contestant", "size", "tokens", "why"], notes)] if notes else parts


def _memory(section: Section) -> list[str]:
    return [
        *_heading("Peak memory above the weights, MiB", section),
        *_verdicts(judged_by_memory(section)),
        "Each figure is of a process of its own, its program compiled and its libraries warm, with one heap "
        "(`MALLOC_ARENA_MAX=1`). On an accelerator it is "
        "the compiled program's own account (results and temporaries).",
        _grid(section, lambda row: row.note or _number(row.peak_bytes and row.peak_bytes / 2**20, "{:,.0f}")),
    ]


def _scaling(section: Section) -> list[str]:
    return [
        *_heading("Scaling", section),
        "![Cost by length and by depth, measured and predicted](scaling.svg)",
        "### Milliseconds: median (least–most; rounds), by length and by depth (`125M/4`: the same with 4 layers)",
        _grid(section, _milliseconds),
    ]


def _grid(section: Section, cell: Callable[[Measured], str]) -> str:
    """One row per contestant, one column per size and length; contestants without any cell are left out."""
    settings = section.settings()
    rows = []
    for name in section.contestants():
        found = [section.find(name, size, length) for size, length in settings]
        cells = [cell(row) if row is not None else None for row in found]
        if any(cells):
            rows.append([name, *("not run" if text is None else text for text in cells)])
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
    return f"{middle} ({least}–{most}; {len(row.seconds)})"


def _closure(row: Measured) -> str:
    if row.closure_error is None or not row.largest_value:
        return ""
    return f"{row.closure_error / row.largest_value:.1e}"


def _fraction(section: Section, row: Measured) -> str:
    run = section.run_of(row.size, row.length)
    if row.median is None or run is None or (run.across_devices and not row.contestant.startswith("ours-")):
        return ""
    device = run.machine.get("device", "")
    return _number(fraction(device, row.contestant, shape(row.size), row.length, row.median), "{:.0%}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _yes(held: bool) -> str:
    return "yes" if held else "**no**"
