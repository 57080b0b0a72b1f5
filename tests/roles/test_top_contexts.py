"""Top contexts are those of a whole trace, whatever the batches; ties, windows, escapes."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError, Tokens, Write
from landed_jax.roles import top_contexts
from tests.models import CONFIGS, NAMES, SMALL, random_params


def data(config: landed.ModelConfig, count: int = 11) -> list[list[int]]:
    random = np.random.default_rng(5)
    return [random.integers(0, config.vocab_size, random.integers(2, 9)).tolist() for _ in range(count)]


def one_by_one(model: landed.Model, prompts: list[list[int]], component: Write, question: object) -> list[tuple]:
    """Every token of each prompt by itself, the most active first."""
    found = []
    for number, ids in enumerate(prompts):
        trace = model.trace([ids])
        if question is None and component.kind == "head":
            writes = [dataclasses.replace(component, position=place) for place in range(len(ids))]
            values = [float(jnp.linalg.norm(landed.writes.write_vector(trace, write))) for write in writes]
        else:
            part = landed.attribute(trace, question).landed
            numbers = part.heads if component.kind == "head" else part.neurons
            numbers = trace[landed.HookPoint.NEURON] if question is None else numbers
            numbers = np.asarray(numbers)[component.layer, 0]
            if component.kind == "neuron" and model.config.n_experts:
                chosen = np.asarray(trace[landed.HookPoint.EXPERT])[component.layer, 0] == component.expert
                numbers = (numbers.reshape(*chosen.shape, -1) * chosen[..., None]).sum(axis=1)
            values = numbers[:, component.index].tolist()
        found += [(value, number, place) for place, value in enumerate(values)]
    return sorted(found, key=lambda one: (-one[0], one[1:]))


# The windowed kind was made for three tokens.
@pytest.mark.filterwarnings("ignore:the prompt has:landed_jax.prompts.PromptWarning")
@pytest.mark.quick
@pytest.mark.parametrize("kind", ["head", "neuron"])
@pytest.mark.parametrize("asked", [None, 4], ids=["activity", "contribution"])
@pytest.mark.parametrize("name", NAMES)
def test_they_are_the_largest_of_all(name: str, asked: int | None, kind: str) -> None:
    config = CONFIGS[name]
    model, prompts = landed.Model(config, random_params(config)), data(config)
    component = Write(kind, 0, 1, expert=2 if config.n_experts and kind == "neuron" else None)
    expected = one_by_one(model, prompts, component, asked)[:6]
    for together in (3, 8):
        found = top_contexts(model, prompts, component, asked, k=6, before=2, after=1, together=together)
        np.testing.assert_allclose(found.value[:, 0], [value for value, *_ in expected], rtol=1e-3, atol=1e-5)
        places = np.stack([found.prompt[:, 0], found.place[:, 0]], axis=-1)
        gaps = np.diff([value for value, *_ in expected])
        if (np.abs(gaps) > 1e-4).all():  # rounding does not change the order
            np.testing.assert_array_equal(places, [place for _, *place in expected])
        for row, (number, place) in enumerate(places):
            window = np.asarray(found.tokens.ids[row])[np.asarray(found.tokens.mask[row])]
            assert window.tolist() == prompts[number][max(place - 2, 0) : place + 2]
            assert int(found.tokens.ids[row, 2]) == prompts[number][place]


def test_equal_ones_stand_in_the_order_of_the_data() -> None:
    model = landed.Model(SMALL, random_params(SMALL))
    found = top_contexts(model, [[3]] * 7, Write("neuron", 0, 1), k=4, together=7)
    assert found.prompt[:, 0].tolist() == [0, 1, 2, 3]


def test_data_may_be_an_iterator_of_texts_and_tokens_and_need_not_be_many() -> None:
    model = landed.load()
    texts = ["The Colosseum is in the city of", "The Louvre is in the city of"]
    component = Write("head", 2, 7)
    found = top_contexts(model, iter(texts), component, k=100)
    assert len(found.value) == sum(len(model.vocabulary.encode(text)) for text in texts)
    tokens = model.encode([texts[1], "The"])
    both = top_contexts(model, [texts[0], Tokens(tokens.ids[:1], tokens.mask[:1])], component, k=100)
    np.testing.assert_allclose(both.value, found.value, rtol=1e-5)
    labelled = found.to_xarray()
    assert labelled.token.values[0, 0] == found.table()[0].token
    assert "' of'" in repr(found.table())


def test_control_characters_do_not_reach_the_terminal() -> None:
    from landed_jax.roles._top_contexts import ContextRow, ContextTable

    shown = repr(ContextTable([ContextRow(1.0, 0, 3, "a\x1b[31mb\n", "\x00", "\u202eend")]))
    assert "\x1b" not in shown and "\x00" not in shown and "\u202e" not in shown and "\\x1b[31m" in shown


@pytest.mark.parametrize(
    ("component", "arguments", "says"),
    [
        (Write("embedding"), {}, "a head or a neuron"),
        (Write("head", 0, 99), {}, "heads run from 0 to 3"),
        (Write("head", 0, 1), {"k": 0}, "at least one"),
        (Write("head", 0, 1), {"data": []}, "no prompt"),
        (Write("head", 0, 1), {"data": "text"}, "list of prompts"),
    ],
)
def test_bad_input_is_a_sentence(component: Write, arguments: dict, says: str) -> None:
    arguments = {"data": [[1, 2]], **arguments}
    with pytest.raises(LandedError, match=says):
        top_contexts(landed.Model(SMALL, random_params(SMALL)), component=component, **arguments)
