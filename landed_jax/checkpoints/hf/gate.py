"""The config gate: a Hugging Face config.json becomes a `ModelConfig`, or is refused with a list of all reasons.

Every field is honoured, or is known not to change the logits, or is refused.
"""

from collections.abc import Collection
from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.hf.harmless import IGNORABLE, NO_CHANGE_UNLESS_SET, is_harmless
from landed_jax.checkpoints.hf.rope_gate import read_rope
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, Refusal, shown
from landed_jax.nn.config import Activation, ModelConfig

ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"}

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
}

# The reference's defaults, for absent fields.
_SIZES = {"vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
_WIDTH = {"llama": 11008, "mistral": 14336}
_LENGTH = {"llama": 2048, "mistral": 131072}
_MISTRAL_KV_HEADS = 8
_MISTRAL_WINDOW = 4096


def config_from_hf(values: Any, ignore_fields: Collection[str] = (), notes: Notes | None = None) -> ModelConfig:
    """The architecture that a parsed config.json describes.

    Args:
        values: the JSON object of a Llama or Mistral checkpoint. An absent field has the default of `transformers`'
            configuration class.
        ignore_fields: fields to read as if they were absent. Those that the package honours are refused.
        notes: where ignored fields are recorded, by the caller's wish or because the reference ignores them.

    Raises:
        LandedError: with every field that is not honoured, its value and the reason.

    >>> config_from_hf({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}).head_dim
    16
    >>> config_from_hf({"model_type": "llama", "logit_scale": 2.0})
    Traceback (most recent call last):
    landed_jax.errors.Refusal: This config.json is not honoured in full, so the model is refused: logit_scale = \
2.0 (an unknown field, which might change the logits: see --ignore-field).
    """
    if not isinstance(values, dict):
        raise LandedError(f"A config.json must hold an object of fields, not {shown(values)}.")
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise LandedError(
            f"model_type is {shown(model_type)}: only {' and '.join(ARCHITECTURES)} models can be read so far."
        )
    notes = notes or Notes()
    fields = Fields({name: value for name, value in values.items() if name not in ignore_fields}, [])
    fields.take("model_type")
    _refuse_foreign(fields, model_type)
    config = _build(fields, model_type, notes)
    _note_ignored(values, ignore_fields, fields, model_type, notes)
    for name in fields.unread():
        value = values[name]
        # False is not neutral for an unknown switch; for is_causal it would change the logits.
        if value is not None and not (name in NO_CHANGE_UNLESS_SET and not value) and not is_harmless(name):
            fields.refuse(name, "an unknown field, which might change the logits: see --ignore-field")
    if fields.problems or config is None:
        reasons = list(dict.fromkeys(fields.problems))
        raise Refusal("This config.json is not honoured in full, so the model is refused", reasons)
    return config


def _note_ignored(
    values: dict[str, Any], ignore_fields: Collection[str], fields: Fields, model_type: str, notes: Notes
) -> None:
    for name in ignore_fields:
        if name not in values:
            fields.problems.append(f"{name} is to be ignored, but there is no such field")
        elif name in fields.read and name not in IGNORABLE[model_type]:
            fields.problems.append(f"{name} is to be ignored, but the model's numbers depend on it")
        else:
            notes.add(f"config.json: {name} = {shown(values[name])} was ignored on request")


def _refuse_foreign(fields: Fields, model_type: str) -> None:
    named = fields.take("architectures")
    if named is not None and not (isinstance(named, list) and all(_is_class(name, model_type) for name in named)):
        fields.refuse("architectures", f"a {model_type} model is read as [{ARCHITECTURES[model_type]!r}]")
    if fields.take("is_causal", True) is not True:  # the reference takes null as false
        fields.refuse("is_causal", "only causal attention is read")
    if fields.take("auto_map"):
        fields.refuse("auto_map", "it names code that came with the checkpoint, which is never executed")
    if fields.take("quantization_config"):
        fields.refuse("quantization_config", "quantised weights are not read: take the unquantised checkpoint")


def _is_class(name: Any, model_type: str) -> bool:
    """Whether `name` is the family's model class or its base class, in any spelling: LLaMAForCausalLM, LlamaModel.

    FSDP renames the classes of the models that it wraps; the reference reads none of these names.
    """
    plain = name.lower().removeprefix("fsdp") if isinstance(name, str) else ""
    return plain in (ARCHITECTURES[model_type].lower(), f"{model_type}model")


def _build(fields: Fields, model_type: str, notes: Notes) -> ModelConfig | None:
    vocab_size, d_model, n_layers, n_heads = (fields.whole(name, default) for name, default in _SIZES.items())
    max_positions = fields.whole("max_position_embeddings", _LENGTH[model_type])
    window = _sliding_window(fields, model_type)
    _check_layer_types(fields, n_layers, window)
    attention_bias = _bias(fields, "attention_bias", model_type)
    values: dict[str, Any] = dict(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=_n_kv_heads(fields, model_type, n_heads),
        head_dim=_head_dim(fields, d_model, n_heads),
        d_ff=fields.whole("intermediate_size", _WIDTH[model_type]),
        family=model_type,
        activation=_activation(fields),
        norm_eps=fields.positive("rms_norm_eps", 1e-6),
        max_positions=max_positions,
        rope=read_rope(fields, max_positions, notes),
        sliding_window=window,
        qkv_bias=attention_bias,
        output_bias=attention_bias,
        mlp_bias=_bias(fields, "mlp_bias", model_type),
        tie_embeddings=fields.flag("tie_word_embeddings", False),
    )
    if fields.ill_typed:
        return None  # further checks would compare with placeholder values
    try:
        return ModelConfig(**values)
    except LandedError as error:
        fields.problems.append(str(error).rstrip("."))
        return None


def _n_kv_heads(fields: Fields, model_type: str, n_heads: int) -> int:
    absent = _MISTRAL_KV_HEADS if model_type == "mistral" else None
    if fields.take("num_key_value_heads", absent) is None:
        return n_heads
    return fields.whole("num_key_value_heads", _MISTRAL_KV_HEADS)


def _head_dim(fields: Fields, d_model: int, n_heads: int) -> int:
    if fields.take("head_dim") is not None:
        return fields.whole("head_dim", 2)
    if d_model % n_heads and not fields.ill_typed:
        fields.refuse("hidden_size", f"not a multiple of num_attention_heads {n_heads}, and there is no head_dim")
        fields.ill_typed = True
    return max(d_model // n_heads, 1)


def _activation(fields: Fields) -> Activation:
    name = fields.take("hidden_act", "silu")
    if isinstance(name, str) and name in ACTIVATIONS:
        return ACTIVATIONS[name]
    fields.refuse("hidden_act", f"not one of {', '.join(ACTIVATIONS)}")
    return "silu"


def _bias(fields: Fields, name: str, model_type: str) -> bool:
    if model_type == "mistral" and fields.take(name):
        fields.refuse(name, "the reference Mistral has no biases and would ignore them")
        return False
    return fields.flag(name, False) if fields.take(name) is not None else False


def _sliding_window(fields: Fields, model_type: str) -> int | None:
    if model_type == "llama":
        if fields.take("sliding_window") is not None:
            fields.refuse("sliding_window", "the reference Llama has no sliding window and would ignore it")
        return None
    if fields.take("sliding_window", _MISTRAL_WINDOW) is None:
        return None
    return fields.whole("sliding_window", _MISTRAL_WINDOW)


def _check_layer_types(fields: Fields, n_layers: int, window: int | None) -> None:
    kind = "full_attention" if window is None else "sliding_attention"
    types = fields.take("layer_types")
    same = isinstance(types, list) and len(types) == n_layers and all(name == kind for name in types)
    if types not in (None, []) and not same:
        fields.refuse("layer_types", f"every one of the {n_layers} layers must be {kind}")
