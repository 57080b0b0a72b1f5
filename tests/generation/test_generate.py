"""`Model.generate`: where texts end, draws, interventions, batches, and what is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import Model, PromptWarning, RopeConfig, intervene
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.errors import LandedError
from landed_jax.generation import Generation
from landed_jax.generation._limits import check_lengths, known_stops
from landed_jax.nn.intervention import Interventions
from tests.compiling import compilations
from tests.models import LAYER_NORM, SMALL, random_params, random_tokens

PROMPTS = [[1, 5, 7, 2, 11], [3, 3, 8]]


@pytest.fixture(scope="module")
def small() -> Model:
    # Far from 0, so that the likeliest token is not always the same one.
    return Model(SMALL, jax.tree.map(lambda leaf: 2 * leaf, random_params(SMALL)))


def by_full_passes(model: Model, prompts: list[list[int]], n: int, interventions: Interventions) -> Any:
    """Tokens and their logits without a cache: the whole pass again for each, all columns to come padding behind."""
    tokens = landed.Tokens.from_lists(prompts)
    length = tokens.ids.shape[1]
    ids = np.pad(np.asarray(tokens.ids), ((0, 0), (0, n)))
    mask = np.pad(np.asarray(tokens.mask), ((0, 0), (0, n)))
    run = jax.jit(
        lambda p, t, at, i: landed.forward(p, t, model.config, record=(), at=at, interventions=i, dtype="float64")[0]
    )
    logits = []
    for step in range(n):
        last = length + step - 1
        found = run(model.params, landed.Tokens(ids, mask), np.array([last]), interventions)[:, 0]
        ids[:, last + 1], mask[:, last + 1] = np.argmax(found, axis=-1), True
        logits.append(np.max(found, axis=-1))
    return ids[:, length:], np.stack(logits, axis=1)


STEERING = np.random.default_rng(0).normal(size=SMALL.d_model)
TAIL, COUNT = len(PROMPTS[0]), 6
COLUMNS = TAIL + COUNT
CHANGES: dict[str, tuple[Any, Any]] = {
    # As they are given to generate; and as they are meant in a pass over all columns.
    "every step": (intervene("attn_residual", "add", STEERING, layers=1),) * 2,
    "heads and neurons": ([intervene("head", layers=0, heads=[1, 3]), intervene("neuron", "scale", 3.0)],) * 2,
    "the prompt's last column": (
        intervene("mlp_write", "scale", 4.0, positions=-1),
        intervene("mlp_write", "scale", 4.0, positions=TAIL - 1),
    ),
    "a generated token's column": (intervene("key", "scale", -2.0, positions=[0, TAIL + 1, TAIL + 2]),) * 2,
    "a value for each column": (
        intervene("attn_residual", "add", np.random.default_rng(1).normal(size=(COLUMNS, SMALL.d_model))),
    )
    * 2,
    "patterns": (intervene("pattern", "scale", 0.25, sources=[3, TAIL]),) * 2,
    "the last norm": (intervene("final_residual", "add", 3 * STEERING, positions=[TAIL + 2]),) * 2,
}


@pytest.mark.parametrize("name", CHANGES)
def test_interventions_are_those_of_the_whole_pass(name: str, small: Model, x64: None) -> None:
    given, meant = CHANGES[name]
    model = dataclasses.replace(small, params=jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), small.params))
    found = model.generate(PROMPTS, COUNT, interventions=given, stop=(), dtype="float64")
    ids, logits = by_full_passes(model, PROMPTS, COUNT, meant)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(np.array(found.logits), logits, rtol=0, atol=1e-12 * np.abs(logits).max())
    plain = model.generate(PROMPTS, COUNT, stop=(), dtype="float64")
    assert np.abs(np.array(plain.logits) - logits).max() > 1e-3 * np.abs(logits).max()  # it did something


def test_a_stop_token_ends_its_own_text_alone(small: Model) -> None:
    free = small.generate(PROMPTS, 8, stop=())
    assert free.finish_reasons == ("length", "length")
    # A token that comes in the first text and not yet in the second.
    place, stop = next((i, one) for i, one in enumerate(free.ids[0]) if one not in free.ids[1][: i + 2])
    found = small.generate(PROMPTS, 8, stop=stop)
    assert found.ids[0] == free.ids[0][: free.ids[0].index(stop) + 1] and place == free.ids[0].index(stop)
    assert found.finish_reasons[0] == "stop"
    assert found.ids[1] == (free.ids[1] if stop not in free.ids[1] else free.ids[1][: free.ids[1].index(stop) + 1])
    assert found.texts[0] == "".join(f" #{one}" for one in found.ids[0][:-1])
    mask = np.asarray(found.tokens.mask)
    assert mask.sum(axis=-1).tolist() == [len(p) + len(g) for p, g in zip(PROMPTS, found.ids, strict=True)]
    # A prompt in a batch goes on as alone.
    assert [small.generate(prompt, 8, stop=()).ids[0] for prompt in PROMPTS] == list(free.ids)


def test_what_ends_a_text_is_read_from_the_checkpoint(tmp_path: Path) -> None:
    vocabulary = landed.load().vocabulary
    assert vocabulary is not None
    end = vocabulary.token_id("</s>")
    assert known_stops(vocabulary, bundled_folder(), landed.load().config) == (end,)
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"eos_token_id": 3}}))
    assert known_stops(vocabulary, tmp_path, SMALL) == (end, 3)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [4, 5, 99, "x"]}))
    assert known_stops(None, tmp_path, SMALL) == (4, 5)  # 99 is no token of this model's
    assert known_stops(None, None, SMALL) == ()


def test_draws_come_from_the_seed(small: Model) -> None:
    def drawn(temperature: float, seed: int, prompts: Any = PROMPTS) -> Generation:
        return small.generate(prompts, 8, temperature=temperature, seed=seed, stop=())

    first = drawn(1.5, 3)
    assert first.ids == drawn(1.5, 3).ids
    assert first.ids[0] == drawn(1.5, 3, PROMPTS[:1]).ids[0]  # whatever stands behind it in the batch
    assert len({drawn(1.5, seed).ids for seed in range(4)}) > 1
    assert drawn(1e-6, 3).ids == small.generate(PROMPTS, 8, stop=()).ids
    with compilations() as compiled:
        drawn(0.7, 9)
    assert not compiled


def test_text_goes_on_behind_the_prompt() -> None:
    model = landed.load()
    found = model.generate(["The Colosseum is in the city of", "The keys near the bottle"], 2)
    assert found.texts[0] == " Rome." and found.written[1] == "The keys near the bottle"
    assert model.vocabulary is not None
    whole = model.vocabulary.decode(np.asarray(found.tokens.ids)[0].tolist())
    assert whole == "<s> The Colosseum is in the city of Rome."
    shown = json.loads(found.to_json())
    assert [one["text"] for one in shown["generations"]] == found.texts
    assert [one["id"] for one in shown["generations"][1]["generated"]] == list(found.ids[1])
    assert " Rome." in repr(found) and "The keys near the bottle" in found._repr_html_()
    with pytest.raises(LandedError, match="There are 2 prompts: say which"):
        _ = found.text
    with pytest.raises(LandedError, match="There is no prompt 2: there are 2"):
        found.account(2)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"n": 0}, "0 is no number of tokens to generate"),
        ({"n": 2.0}, "2.0 is no number of tokens"),
        ({"n": True}, "True is no number of tokens"),
        ({"temperature": -0.5}, "-0.5 is no temperature"),
        ({"temperature": float("inf")}, "inf is no temperature"),
        ({"temperature": 1e-50}, "1e-50 is too cold"),
        ({"n": 10**12}, "a cache of .* columns take at least .* Generate fewer tokens"),
        ({"seed": -1}, "-1 is no seed"),
        ({"seed": 2**32}, "is no seed"),
        ({"stop": 13}, "There is no token 13"),
        ({"stop": [1, 2.5]}, "There is no token 2.5"),
        ({"interventions": intervene("mlp_write", positions=-6)}, "There is no column -6: the prompts have 5"),
        ({"interventions": intervene("mlp_write", positions=9)}, "There is no position 9 of mlp_write"),
    ],
)
def test_what_cannot_be_generated(small: Model, how: dict[str, Any], said: str) -> None:
    with pytest.raises(LandedError, match=said):
        small.generate(PROMPTS, **{"n": 4, **how})


def test_prompts_end_at_the_last_column(small: Model) -> None:
    tokens = random_tokens(SMALL)
    turned = landed.Tokens(tokens.ids[:, ::-1], tokens.mask[:, ::-1])
    with pytest.raises(LandedError, match="has padding at its end"):
        small.generate(turned, 2)


def test_more_tokens_than_positions(small: Model) -> None:
    learned = Model(LAYER_NORM, random_params(LAYER_NORM))
    with pytest.raises(LandedError, match=r"5 tokens, and 28 more make 33, but .* beyond 32: generate at most 27"):
        learned.generate([1, 2, 3, 4, 5], 28)
    rope = RopeConfig("dynamic", factor=2.0)
    with pytest.raises(LandedError, match="changes with every token beyond 8: generate at most 3"):
        check_lengths([5], 4, dataclasses.replace(SMALL, rope=rope, max_positions=8))
    assert check_lengths([5], 3, dataclasses.replace(SMALL, rope=rope, max_positions=8)) == []
    rope = RopeConfig("longrope", original_max_positions=8, short_factors=(1.0,) * 2, long_factors=(2.0,) * 2)
    config = dataclasses.replace(SMALL, rope=rope, max_positions=64)
    with pytest.raises(LandedError, match=r"cross 8 tokens, where .* becomes another: generate at most 2"):
        check_lengths([9, 6], 3, config)
    assert check_lengths([9, 12], 30, config) == check_lengths([5], 3, config) == []
    short = dataclasses.replace(small, config=dataclasses.replace(SMALL, max_positions=6))
    with pytest.warns(PromptWarning, match="up to 8 tokens, more than the 6"):
        short.generate([1, 2, 3, 4, 5], 3, stop=())
