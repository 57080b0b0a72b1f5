"""What heads and neurons do over many prompts."""

import numpy as np

from landed_jax.plots._chosen import of_prompts, plain
from landed_jax.plots._drawing import Drawing
from landed_jax.plots._panels import Bars, Panel, Places, Series
from landed_jax.plots._registry import draws
from landed_jax.plots.kinds.attribution import check_choice, head_map
from landed_jax.roles._head_scores import SCORES, HeadScores
from landed_jax.roles._name_movers import NameMovers
from landed_jax.roles._patterns import PatternScores
from landed_jax.roles._top_contexts import TopContexts
from landed_jax.tables.flow import Item
from landed_jax.tables.quoted import Quoted

_PATTERNS = ("previous_token", "duplicate_token", "induction")


@draws(HeadScores, PatternScores)
def head_scores(found: HeadScores | PatternScores, *, score: str | None = None) -> Drawing:
    """Every head's mean over the sequences, one map a score.

    Args:
        score: one of them alone.
    """
    names = SCORES if isinstance(found, HeadScores) else _PATTERNS
    if score is not None:
        check_choice("score", score, names)
    panels: list[Panel] = []
    for name in names if score is None else (score,):
        means = plain(getattr(found, name)).mean(axis=-1)
        panels.append(head_map(name.replace("_", " ").capitalize(), means, "mean score (0 to 1)", signed=False))
    return Drawing(panels, of_prompts(found, np.shape(found.induction)[-1], "sequence"))


@draws(NameMovers)
def name_movers(found: NameMovers, *, top: int = 10) -> Drawing:
    """Every head's mean direct effect on the right name's lead, and the largest for and against it.

    Args:
        top: how many heads are shown one by one.
    """
    direct, landed = (plain(part).mean(axis=-1) for part in (found.direct, found.landed))
    order = np.argsort(-np.abs(direct), axis=None, kind="stable")[: max(top, 1)]
    names = [".head.".join(map(str, divmod(int(place), direct.shape[1]))) for place in order]
    series = [Series("direct effect", direct.ravel()[order]), Series("landed contribution", landed.ravel()[order])]
    unit = "mean over prompts (logits)"
    panels = [
        head_map("Direct effect on the right name's lead", direct, unit),
        Bars("The largest", Places("head", names), series, unit),
    ]
    return Drawing(panels, of_prompts(found, np.shape(found.difference)[0], "prompt"))


@draws(TopContexts)
def top_contexts(found: TopContexts, *, top: int = 15) -> Drawing:
    """How active the component is in each of the contexts, with the token that it is active at."""
    values = plain(found.value)[:, 0]
    known, at = found.known, int(np.asarray(found.at)[0])
    ids = np.asarray(known.tokens.ids)[:, at].tolist()
    shown = list(range(min(max(top, 1), len(values))))
    text = known.vocabulary.text if known.vocabulary is not None else lambda token: f"#{token}"
    prompts, places = (np.asarray(part)[:, 0] for part in (found.prompt, found.place))
    names: list[Item] = [Quoted(text(ids[row]), f"{prompts[row]}:{places[row]} ") for row in shown]
    panel = Bars(
        "The most active contexts", Places("prompt:place and token", names), [Series("value", values[shown])], "value"
    )
    return Drawing([panel], of_prompts(found, len(values), "context"))
