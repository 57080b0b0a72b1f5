"""What a caption says: what was asked, of which prompt and position, in which numbers; and that it fits."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax import LandedError, Neuron
from landed_jax.plots import drawing_of
from landed_jax.plots._chosen import number_type, text_of
from landed_jax.provenance import Provenance
from landed_jax.tables.quoted import Passage
from landed_jax.tokens import Tokens
from landed_jax.vocabulary import Vocabulary
from tests.models import SMALL
from tests.plots.artists import caption_of, drawn_axes, names_of
from tests.plots.cases import TEXTS, made, trace


def words(found: Any, **options: Any) -> str:
    return " ".join(item if isinstance(item, str) else repr(item.text) for item in drawing_of(found, **options).caption)


def test_the_tokens_asked_about() -> None:
    asked = f"Target {TEXTS[3]!r} against {TEXTS[5]!r}"
    for name in ("attribute", "Effects"):
        assert asked in words(made(name), prompt=1)
    assert f"Target {TEXTS[3]!r} Position" in words(made("Patching"))
    # One that does not keep them says nothing of them.
    assert "Target" not in words(made("coordinates"))
    neuron = landed.attribute(trace(), Neuron(1, 3, "gate"))
    assert "the value read at 1.mlp" in drawing_of(neuron).panels[0].title


def test_an_ablation_and_a_corrupted_prompt_are_named() -> None:
    assert "Zero ablation at all positions" in words(made("Effects"))
    found = made("Patching")
    *_, said, passage = drawing_of(found, prompt=1).caption
    assert said == "Corrupted prompt, into which clean values are put:"
    ids = np.asarray(found.corrupted_ids)[1]
    assert isinstance(passage, Passage) and passage.text == "".join(TEXTS[token] for token in ids)
    noise = dataclasses.replace(found, direction="noise")
    assert "whose values are put into the clean one" in words(noise)


def test_a_padded_prompt_counts_its_own_tokens() -> None:
    found = made("attribute")
    figure = found.plot(prompt=1)
    said = "Position 2 '$x$' of the prompt's own tokens (position=4 of the padded batch)."
    assert said in caption_of(figure)
    picture = made("token_contributions")
    names = names_of(drawn_axes(picture.plot(prompt=1))[0], "x")
    assert [name.split(" ")[0] for name in names] == ["0", "1", "2"]


class Halves(Vocabulary):
    """Two tokens make a character, as in byte-level vocabularies."""

    def __init__(self) -> None:
        super().__init__(None)

    def text(self, token: int) -> str:
        return f"<0x{token:02X}>"

    def decode(self, ids: Any) -> str:
        return bytes(ids).decode("utf-8")


def test_a_character_of_several_tokens_is_whole_in_the_prompt() -> None:
    ids = list("東京 😀".encode())
    known = Provenance(Tokens.from_lists([ids]), jnp.array([len(ids) - 1]), SMALL, Halves())
    assert text_of(known, 0) == "東京 😀"


def test_products_of_bfloat16_are_named_beside_the_type() -> None:
    found = made("attribute")
    config = dataclasses.replace(SMALL, bfloat16_products=True)
    known = dataclasses.replace(found.known, config=config)
    assert number_type(found, known) == "float32, bfloat16 products"
    assert number_type(found, found.known) == "float32"


def test_numbers_have_one_minus() -> None:
    found = made("attribute")
    found = dataclasses.replace(found, value=-jnp.abs(found.value))
    assert f"value −{abs(float(found.value[0, -1])):.4g} logits" in words(found)
    error = f"{float(found.closure_error[0, -1]):.1e}".replace("-", "−")
    assert f"closure error {error}." in words(found)


@pytest.mark.parametrize("points", [6.0, 8.0, 11.0])
def test_a_caption_is_within_its_figure(points: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    class Wide(Halves):
        def decode(self, ids: Any) -> str:
            return "WWW \U000f0000 MMMM 0x888 " * 20

    found = made("attribute")
    found = dataclasses.replace(found, provenance=dataclasses.replace(found.known, vocabulary=Wide()))
    for show in ("heads", "layers"):
        figure = found.plot(show=show, points=points)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        text = figure._supxlabel  # pyright: ignore[reportAttributeAccessIssue] # Matplotlib gives its words alone
        assert text.get_window_extent(canvas.get_renderer()).x1 <= figure.bbox.x1


def test_an_escape_is_never_cut() -> None:
    from landed_jax.plots._look import FontScreen

    for width in range(20, 40):
        for part in Passage("\U000f0000" * 30, lines=1).parts(FontScreen(width)):
            assert part.count("\\U000f0000") == part.count("\\")


@pytest.mark.parametrize("top", [0, -1, 2.5, True])
def test_how_many_is_a_whole_number_above_0(top: Any) -> None:
    with pytest.raises(LandedError, match=f"top={top} is no number of places: give a whole number, 1 or more"):
        made("attribute").plot(top=top)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"show": "layers", "effect": True}, 'effect=True goes with show="heads"'),
        ({"show": "writes", "effect": True}, 'effect=True goes with show="heads"'),
        ({"show": "heads", "top": 3}, 'top= goes with show="writes"'),
        ({"show": "layers", "top": 3}, 'top= goes with show="writes"'),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(LandedError, match=says):
        made("attribute").plot(**options)


@pytest.mark.parametrize("name", ["Sweep", "Effects", "Patching"])
def test_a_map_refuses_how_many(name: str) -> None:
    with pytest.raises(LandedError, match="top= goes with a list of components: this figure is a map"):
        drawing_of(made(name), top=3)
