"""Recipes: what is known of well-known models (`models.json`), and a conversion that compares the source with it."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from landed_jax.errors import LandedError
from landed_jax.loading import convert, read_config
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import count_parameters

_TABLE = Path(__file__).with_name("models.json")


@dataclass(frozen=True)
class Recipe:
    """What a checkpoint must say of itself.

    Attributes:
        source: its Hugging Face id.
        parameters: of the text model, a tied table counted once.
        two_tables: the config ties the two tables, of which the files hold both, with different values.
    """

    source: str
    family: str
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    d_ff: int
    vocab: int
    tied: bool
    parameters: int
    two_tables: bool = False

    @classmethod
    def of(cls, source: str, config: ModelConfig, two_tables: bool = False) -> "Recipe":
        """The recipe that a config agrees with."""
        config = dataclasses.replace(config, tie_embeddings=False) if two_tables else config
        sizes = (config.n_layers, config.d_model, config.n_heads, config.n_kv_heads, config.d_ff, config.vocab_size)
        return cls(source, config.family, *sizes, config.tie_embeddings, count_parameters(config), two_tables)


def recipes() -> dict[str, Recipe]:
    """All recipes, by the name that a user gives."""
    return {name: Recipe(**facts) for name, facts in json.loads(_TABLE.read_text(encoding="utf-8")).items()}


def check(recipe: Recipe, config: ModelConfig) -> None:
    """Refuse a checkpoint that is another model than the recipe's.

    Raises:
        LandedError: with every fact that differs.
    """
    expected, found = (
        dataclasses.asdict(recipe),
        dataclasses.asdict(Recipe.of(recipe.source, config, recipe.two_tables)),
    )
    differ = [f"{name} is {found[name]}, not {expected[name]}" for name in expected if found[name] != expected[name]]
    if differ:
        raise LandedError(f"This is not {recipe.source}: {'; '.join(differ)}.")


def run(
    recipe: Recipe, source: str, dst: str, hf: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Compare `source` with the recipe, and convert it to the new folder `dst`.

    Raises:
        LandedError: as `check` and `landed_jax.loading.convert` do.
    """
    check(recipe, read_config(source)[0])
    convert(source, dst, progress, hf=hf)
