"""From the embedding through the layers to the value; each bar opens into its heads or its largest neurons."""

from typing import TYPE_CHECKING, Any

from landed_jax.page._blocks import Built, Chart, Column, Drill, Frame, Text
from landed_jax.page._charts import TICKS, bars, by_sign, chosen_stroke, names, rows, sized
from landed_jax.page._packages import altair
from landed_jax.page._words import largest_said, value_name, write_name
from landed_jax.page.sections.section import Document, PageSection

if TYPE_CHECKING:
    from altair import Chart as AltairChart

_ROUNDING = 1e-5  # of the sum of sizes: a smaller rest is float32's
_PARTS = {"attention": "attention", "mlp": "MLP"}
_STEPS = (
    Column("name", "step", "text"),
    Column("landed", "landed"),
    Column("direct_effect", "direct effect", "number", "the step's whole write removed at the final norm alone"),
    Column("end", "sum so far"),
)
_INSIDE = (
    Column("name", "write", "text"),
    Column("landed", "landed"),
    Column("direct_effect", "direct effect"),
    Column("sigma_share", "σ share", "percent", "the write's part of the final σ²"),
)


def _build(document: Document) -> Built:
    steps = _steps(document)
    inside = _inside(document)
    frames = {
        "steps": Frame.of(steps, "{step}", {"landed": "{path}", "direct_effect": "{effect_path}"}),
        "inside": Frame.of(
            inside, "{step}", {"landed": "{path}", "direct_effect": "{effect_path}", "sigma_share": "{share_path}"}
        ),
    }
    drill = Drill(
        "inside", "inside", ("layer", "part"), _INSIDE, (("landed", "landed"), ("direct_effect", "direct effect")),
        "What is in",
    )  # fmt: skip
    said = f"Waterfall of {len(steps)} steps to {value_name(document)}. " + largest_said(
        [row for row in steps if row["layer"] is not None], "landed", lambda row: row["step"]
    )
    intro = (
        "Landed contributions, σ of the final norm held fixed: they sum to the value. Blue raises it, orange lowers "
        "it. Click a bar, or choose it in the list, to open it."
    )
    return Built(
        [Text(intro), Chart("waterfall", "steps", "From embedding to value", said, _STEPS, drill=drill)], frames
    )


def _steps(document: Document) -> list[dict[str, Any]]:
    """The bars in their order, each from the sum before to the sum after it."""
    found: list[dict[str, Any]] = [_embedding(document, "embedding")]
    if document.get("position_embedding_direct_effect") is not None:
        found.append(_embedding(document, "position_embedding"))
    for layer, parts in enumerate(document["layers"]):
        for part, numbers in parts.items():
            place = f'["layers"][{layer}]["{part}"]'
            found.append(
                {
                    "step": f"{_PARTS[part]} {layer}",
                    "layer": layer,
                    "part": _PARTS[part],
                    **numbers,
                    "path": f'{place}["landed"]',
                    "effect_path": f'{place}["direct_effect"]',
                    "whole": False,
                }
            )
    rest = document["sum_of_landed"] - sum(row["landed"] for row in found)
    if abs(rest) > _ROUNDING * sum(abs(row["landed"]) for row in found):
        found.append(_alone("β and bias of what reads", rest))
    end = 0.0
    for row in found:
        row["start"], end = end, end + row["landed"]
        row["end"] = end
    whole = _alone("sum", document["sum_of_landed"], '["sum_of_landed"]')
    return [*found, whole | {"start": 0.0, "end": document["sum_of_landed"], "whole": True}]


def _embedding(document: Document, name: str) -> dict[str, Any]:
    effect = {"direct_effect": document[f"{name}_direct_effect"], "effect_path": f'["{name}_direct_effect"]'}
    return _alone(name.replace("_", " "), document[name], f'["{name}"]') | effect


def _alone(step: str, landed: float, path: str = "") -> dict[str, Any]:
    """A step that is no layer's."""
    row = {"step": step, "layer": None, "part": None, "landed": landed, "direct_effect": None}
    return row | {"path": path, "effect_path": "", "whole": False}


def _inside(document: Document) -> list[dict[str, Any]]:
    """Heads and the largest neurons of every layer, the largest first; and what is left of the layer's write."""
    detail = document.get("detail")
    found: list[dict[str, Any]] = []
    for layer, heads in enumerate(document["heads"]):
        numbers = detail["heads"] if detail else None
        attention = [
            {
                "step": write_name("head", layer, head),
                "layer": layer,
                "part": "attention",
                "landed": landed,
                "direct_effect": numbers and numbers["direct_effect"][layer][head],
                "sigma_share": numbers and numbers["sigma_share"][layer][head],
                "path": f'["heads"][{layer}][{head}]',
                "effect_path": f'["detail"]["heads"]["direct_effect"][{layer}][{head}]' if detail else "",
                "share_path": f'["detail"]["heads"]["sigma_share"][{layer}][{head}]' if detail else "",
            }
            for head, landed in enumerate(heads)
        ]
        found += sorted(attention, key=lambda row: -abs(row["landed"]))
        found += _rest(document, layer, "attention", attention)
        neurons = _neurons(detail["neurons"][layer], layer) if detail else []
        found += [*neurons, *_rest(document, layer, "mlp", neurons)]
    return found


def _neurons(listed: list[dict[str, Any]], layer: int) -> list[dict[str, Any]]:
    return [
        {
            "step": write_name("neuron", layer, row["index"], row.get("expert")),
            "layer": layer,
            "part": _PARTS["mlp"],
            **{name: row[name] for name in ("landed", "direct_effect", "sigma_share")},
            "path": f'["detail"]["neurons"][{layer}][{i}]["landed"]',
            "effect_path": f'["detail"]["neurons"][{layer}][{i}]["direct_effect"]',
            "share_path": f'["detail"]["neurons"][{layer}][{i}]["sigma_share"]',
        }
        for i, row in enumerate(listed)
    ]


def _rest(document: Document, layer: int, part: str, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the rows that are shown leave of the layer's write; nothing where that is rounding."""
    if part == "attention" and not document["bias"]:
        return []
    rest = document["layers"][layer][part]["landed"] - sum(row["landed"] for row in shown)
    others = [] if part == "attention" else ["all other neurons" if shown else "all neurons"]
    step = ", ".join([*others, *(["bias"] if document["bias"] else [])])
    row = {"step": step, "layer": layer, "part": _PARTS[part], "landed": rest, "direct_effect": None}
    return [row | {"sigma_share": None, "path": "", "effect_path": "", "share_path": ""}]


def _waterfall() -> "AltairChart":
    alt = altair()
    x = alt.X("start:Q", title="sum of landed contributions", axis=alt.Axis(tickCount=TICKS))
    how = {"y": names(), "color": by_sign(), "description": "spoken:N", **chosen_stroke()}
    return sized(rows().mark_bar(cursor="pointer").encode(x=x, x2="end:Q", **how))


SECTION = PageSection(
    name="waterfall",
    title="Waterfall",
    of="run",
    build=_build,
    charts={"waterfall": _waterfall, "inside": lambda: bars("contribution")},
    place=2,
)
