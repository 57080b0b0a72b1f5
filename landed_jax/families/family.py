"""What a model family is: one value that the config gate, the writer and the tables are made from."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig

# The values of absent fields in most families; a family names those in which its configuration class differs.
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,  # as many as heads
    "head_dim": None,  # hidden_size / num_attention_heads
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 1.0,
}


# The fields of `ModelConfig` that every family has; one that names such a field in `held` spells it in its own way.
_OF_ALL = frozenset(
    {"vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "family", "activation"}
    | {"norm_eps", "max_positions", "rope", "tie_embeddings", "bfloat16_products"}
)


@dataclass(frozen=True, eq=False)
class Family:
    """A kind of checkpoint in Hugging Face layout.

    Attributes:
        name: ``model_type`` in config.json, and `ModelConfig.family`.
        architecture: the model class in `transformers`.
        switches: from the config's fields and the number of layers to those fields of `ModelConfig` that are the
            family's own. It reads every field that the family knows, and refuses what the reference would ignore.
        fields: the inverse for the writer: the family's own fields of config.json. It refuses values that the family
            cannot hold.
        held: the fields of `ModelConfig` that `switches` may set; the writer refuses a model that sets others.
        defaults: values of absent fields where they differ from `DEFAULTS`: those of the class's configuration.
        rope_kinds: the kinds of rotary embedding that the family's config may name, and which each is; None for all
            under their own names.
        ignorable: fields that `switches` reads only to refuse them, so that a user may have them ignored.
        names: tensors whose names differ from Llama's, by leaf (`nn/parameters.py`), with ``{layer}`` in layers and
            ``{expert}`` where each expert has a tensor of its own. Leaves
            of one name are the rows of one tensor, in the order in which they stand here.
        by_head: leaves of such a tensor that take turns in it head by head.
        transposed: leaves whose tensors have their axes the other way round, inputs first.
        interleaved: leaves of one tensor that take turns in it row by row.
        aliases: other names that checkpoints have for some tensors, each with that in `names`.
        base: what stands in front of the names of the base model's tensors, which saves them without it.
        constants: the ends of names of tensors that old checkpoints hold and no forward pass reads.
        spelling: fields of config.json whose names differ from Llama's, by those; None for what the family has not.
        examples: ids of well-known checkpoints.
    """

    name: str
    architecture: str
    switches: Callable[[Fields, int], dict[str, Any]]
    fields: Callable[[ModelConfig], dict[str, Any]]
    held: frozenset[str]
    defaults: Mapping[str, Any]
    rope_kinds: Mapping[str, str] | None = None
    ignorable: frozenset[str] = frozenset()
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    by_head: frozenset[str] = frozenset()
    transposed: frozenset[str] = frozenset()
    interleaved: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    base: str = "model."
    constants: tuple[str, ...] = ()
    spelling: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def check_writable(self, config: ModelConfig) -> None:
        """Refuse a model with a switch that this family does not have.

        Raises:
            LandedError: naming it.
        """
        for field in dataclasses.fields(ModelConfig):
            own = field.name in self.held or field.name in _OF_ALL
            if not own and getattr(config, field.name) != field.default:
                raise LandedError(
                    f"A {self.name} in Hugging Face layout has no {field.name}: this model cannot be written as one."
                )

    def default(self, name: str) -> Any:
        """The value of a field, under Llama's name for it, that config.json does not have."""
        return self.defaults.get(name, DEFAULTS[name])

    def spelled(self, name: str) -> str | None:
        """The family's name of one of Llama's fields; None where the family has no such field."""
        return self.spelling.get(name, name)


@dataclass(frozen=True, eq=False)
class Wrapper:
    """A kind of checkpoint that holds a text model of one of the families beside other parts, which are left out.

    Attributes:
        name: ``model_type`` in config.json; that of the text model is in ``text_config``.
        architecture: the model class in `transformers`.
        texts: the families that the text model may be of, first the one where ``text_config`` does not say it.
        parts: the other parts, as the names of their tensors begin.
        fields: fields of config.json that are about the other parts alone.
        tied: whether the text model's embedding is its unembedding, where config.json does not say it.
        text_refused: fields of ``text_config`` that the class ignores where they are set, though the text model's own
            class honours them.
        examples: ids of well-known checkpoints.
    """

    name: str
    architecture: str
    texts: tuple[str, ...]
    parts: frozenset[str] = frozenset({"vision_tower", "multi_modal_projector"})
    fields: frozenset[str] = frozenset({"vision_config", "image_token_index"})
    tied: bool = True
    text_refused: frozenset[str] = frozenset()
    examples: tuple[str, ...] = ()
