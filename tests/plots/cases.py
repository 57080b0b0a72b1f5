"""One result of every class that has a figure, of a batch of two prompts with a tokenizer of difficult texts."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax import HookPoint, Logit, Tokens, Write
from landed_jax.circuits._attribution import EdgeScores
from landed_jax.circuits._circuit import Faithfulness
from landed_jax.circuits._graph import Graph
from landed_jax.circuits._path import PathPatches
from landed_jax.comparison._compare import TaskComparison
from landed_jax.comparison._correlation import Correlation
from landed_jax.comparison._curves import Curve
from landed_jax.comparison._evidence import Evidence
from landed_jax.comparison._rows import LevelComparison, Row
from landed_jax.comparison._settings import Settings
from landed_jax.methods._scores import Scores
from landed_jax.nn.config import ModelConfig
from landed_jax.roles import top_contexts
from landed_jax.roles._head_scores import HeadScores
from landed_jax.roles._name_movers import NameMovers
from landed_jax.roles._patterns import PatternScores
from landed_jax.studies import ProgressMeasures
from landed_jax.tasks import Kept
from landed_jax.vocabulary import Vocabulary
from tests.models import SMALL, random_params, random_tokens

# Formulas, line breaks, nothing at all, other scripts, marks without a letter, emoji, what no font has.
TEXTS = ["$x$", " $", "\\frac{1}{2}", "\n", 'a "b"', "", "\0", "日本", "é", "'", " 😀", "\u0301", "\U000f0000_^{"]


class Texts(Vocabulary):
    """Every token's text is given."""

    def __init__(self) -> None:
        super().__init__(None)

    def text(self, token: int) -> str:
        return TEXTS[token]

    def decode(self, ids: Any) -> str:
        return "".join(map(self.text, ids))


def model_of(config: ModelConfig, dtype: Any = jnp.float32) -> landed.Model:
    return landed.Model(config, random_params(config, dtype=dtype), Texts(), source="small_$model$")


@functools.cache
def small() -> landed.Model:
    return model_of(SMALL)


def trace_of(model: landed.Model, tokens: Tokens | None = None) -> landed.Trace:
    record = landed.WRITES | landed.RESIDUALS | landed.SOURCES | landed.NORMED
    return model.trace(random_tokens(model.config) if tokens is None else tokens, record=record)


@functools.cache
def trace() -> landed.Trace:
    return trace_of(small())


@functools.cache
def made(name: str) -> Any:
    """A result by the name of its analysis, or of its class."""
    return (analysed(trace()) | others())[name]()


def analysed(trace: landed.Trace) -> dict[str, Callable[[], Any]]:
    """Each analysis of the registry whose result is one, by its name."""
    asked = Logit(3, against=5)

    def call(analysis: Any) -> Any:
        arguments = dict(analysis.example(trace))
        if analysis.asks and "question" not in arguments:
            arguments["question"] = asked
        return analysis.function(trace, **arguments)

    return {name: functools.partial(call, one) for name, one in landed.analyses().items()}


def prompts() -> tuple[Tokens, Tokens]:
    """Two prompts as they are and corrupted, in which one token differs."""
    clean = Tokens.from_lists([[1, 2, 3, 7], [1, 12, 0, 10]])
    return clean, Tokens(clean.ids.at[:, 1].set(5), clean.mask)


def curve(scale: float) -> Curve:
    fraction = np.array([0.01, 0.1, 1.0])
    kept = scale * np.array([[0.1, 0.2], [0.5, 0.4], [1.0, 1.0]])
    return Curve(fraction, (100 * fraction).astype(int), kept, np.ones(2), np.zeros(2))


def level() -> LevelComparison:
    rows = tuple(Row(name, None, *(curve(scale) for _ in range(4))) for name, scale in (("one_$", 1.0), ("two", 0.7)))
    return LevelComparison("heads", "zero", 100, 10, "", rows)


def study() -> landed.studies.Study:
    return landed.study(small(), [[1, 2, 3], [7, 4], [2, 12, 0, 1]], keep=["scale", "attribution", "lens"])


def others() -> dict[str, Callable[[], Any]]:
    """What no analysis of a trace gives, by the name of its class."""
    model, known = small(), trace().provenance
    (clean, corrupted), tokens = prompts(), random_tokens(SMALL)
    matrix = functools.cache(lambda: landed.landing.landing_matrix(trace(), jnp.ones(SMALL.d_model)))
    run = functools.partial(landed.attribute_streaming, model.params, tokens, SMALL)
    question = Logit(3, against=5)
    numbers = np.array([0.2, -0.4, 0.9])

    def streamed(reduction: Any, **how: Any) -> Any:
        found = run(reduction, question, **how)
        return dataclasses.replace(
            found, provenance=known, reduced=dataclasses.replace(found.reduced, provenance=known)
        )

    def kept(reduction: Any) -> Any:
        return streamed(reduction).reduced

    return {
        "LogProbability": lambda: landed.attribution.attribute_log_probability(trace(), 3),
        "ConfidenceEffects": lambda: landed.attribution.confidence_effects(trace(), 3, layers=[0, 1]),
        "Agreement": lambda: landed.attribution.frozen_sigma_agreement(trace(), question).heads,
        "Landings": lambda: matrix().of(Write("head", 1, 2, position=4)),
        "Landing": lambda: matrix().of(Write("head", 1, 2, position=4)).final,
        "Reading": lambda: landed.basis.check_coordinates(trace(), question, fraction=0.5).kept,
        "Read": lambda: landed.resolve(trace(), question),
        "StreamedAttribution": lambda: streamed(landed.reduce.top_writes(5), effects=True),
        "TopWrites": lambda: kept(landed.reduce.top_per_position(3)),
        "Shares": lambda: kept(landed.reduce.everything()),
        "LayerSums": lambda: kept(landed.reduce.layer_sums()),
        "Histogram": lambda: kept(landed.reduce.histogram([-1.0, -0.1, 0.0, 0.1, 1.0])),
        "Sweep": lambda: landed.sweep(model, clean, landed.interventions.every_head(SMALL), 3),
        "Effects": lambda: landed.effects_table(model, clean, 3, 5),
        "Gradients": lambda: landed.interventions.gradients(
            model, clean, 3, [HookPoint.HEAD, HookPoint.MLP_WRITE, HookPoint.EMBEDDING]
        ),
        "Patching": lambda: landed.activation_patching(model, clean, corrupted, 3),
        "EdgeScores": lambda: EdgeScores(
            jax.random.normal(jax.random.key(0), (2, len(Graph.of(SMALL)))), jnp.ones(2), provenance=known
        ),
        "Faithfulness": lambda: Faithfulness(jnp.array([[0.0, 0.2], [0.5, 1.5]]), jnp.array([1.0, 2.0]), jnp.zeros(2)),
        "PathPatches": lambda: PathPatches(
            jnp.array([[0.5, 0.2], [0.7, 3.0]]), jnp.ones(2), ("a0.h1->logits", "m0->logits"), provenance=known
        ),
        "Scores": lambda: Scores(
            jnp.arange(16.0).reshape(2, 2, 4) - 5,
            jnp.ones((2, 2, 10)),
            jnp.arange(10.0).reshape(2, 5),
            value=jnp.ones(2),
            provenance=known,
        ),
        "HeadScores": lambda: HeadScores(
            *(jnp.arange(24.0).reshape(2, 4, 3) / (24 * k) for k in range(1, 6)), provenance=known
        ),
        "PatternScores": lambda: PatternScores(*(jnp.ones((2, 4, 3)) / k for k in (1, 2, 3)), provenance=known),
        "NameMovers": lambda: NameMovers(
            *(jnp.arange(16.0).reshape(2, 4, 2) - k for k in range(8)), jnp.ones(2), provenance=known
        ),
        "TopContexts": lambda: top_contexts(model, [[1, 2, 3, 4], [0, 7, 8]], Write("head", 1, 2), k=4),
        "Curve": lambda: curve(0.9),
        "Correlation": lambda: Correlation(numbers, numbers**2, np.abs(numbers), 0.5, 0.4),
        "Evidence": lambda: Evidence(np.abs(numbers), numbers, numbers > 0, numbers > 0),
        "LevelComparison": level,
        "TaskComparison": lambda: TaskComparison("facts_$", KEPT, Settings(), (), (level(),), {}),
        "Study": study,
        "Series": lambda: landed.studies.Series({"step1": study(), "step20": study()}),
        "ProgressMeasures": lambda: ProgressMeasures(*(np.array([0.1, 0.3, 0.5]) * k for k in (1, 2, 3))),
    }


KEPT = Kept((), (), (), (), (), np.zeros(0), 0, 0, 0, 0)
