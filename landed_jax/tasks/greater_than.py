"""A span of years that ends later than it begins.

The task of Hanna et al., How Does GPT-2 Compute Greater-Than?, 2023, arXiv:2305.00586. The corrupted prompt begins in
the year 01 of the century, after which nearly every year is later. With a tokenizer of single digits the answer is the
year's third digit, and the year's own decade is neither right nor wrong.
"""

import random

from landed_jax.tasks._prompt import Answers, Prompt, Task

_EVENTS = (
    *("war", "siege", "campaign", "expedition", "project", "voyage", "reign", "trial", "strike", "drought"),
    *("dispute", "tour", "study", "search", "experiment", "conflict", "alliance", "occupation", "boom", "plague"),
)
_WORDINGS = (
    "The {event} lasted from the year {century}{year:02} to the year {century}",
    "The {event} began in {century}{year:02} and did not end before the year {century}",
)
_CENTURIES = (15, 16, 17, 18)


def _draw(chooser: random.Random, condition: str) -> Prompt:
    words = {"event": chooser.choice(_EVENTS), "century": chooser.choice(_CENTURIES)}
    year = chooser.randrange(12, 88)
    wording = chooser.choice(_WORDINGS)
    later, earlier = (tuple(f"{y:02}" for y in years) for years in (range(year + 1, 100), range(2, year)))
    digits = Answers(tuple(map(str, range(year // 10 + 1, 10))), tuple(map(str, range(year // 10))))
    clean, corrupted = (wording.format(year=y, **words) for y in (year, 1))
    return Prompt(condition, clean, corrupted, (Answers(later, earlier), digits))


TASK = Task("greater than", ("years",), _draw)
