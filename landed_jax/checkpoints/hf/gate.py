"""The config gate: a Hugging Face config.json becomes a `ModelConfig`, or is refused with a list of all reasons.

Every field is honoured, or is known not to change the logits, or is refused.
"""

from collections.abc import Collection
from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.hf.harmless import NO_CHANGE_UNLESS_SET, is_harmless
from landed_jax.checkpoints.hf.rope_gate import read_rope
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, Refusal, shown
from landed_jax.families import Family, families
from landed_jax.families.reading import activation_in
from landed_jax.nn.config import LARGEST, ModelConfig
from landed_jax.nn.rope_config import DEFAULT_ROPE, RopeConfig

_OF_ALL = frozenset({"architectures", "auto_map"})  # read only to refuse what the reference would execute


def config_from_hf(values: Any, ignore_fields: Collection[str] = (), notes: Notes | None = None) -> ModelConfig:
    """The architecture that a parsed config.json describes.

    Args:
        values: the JSON object of a checkpoint of one of the `families`. An absent field has the default of the
            configuration class in `transformers`.
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
    family = families().get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise LandedError(f"model_type is {shown(model_type)}: these can be read so far: {', '.join(families())}.")
    notes = notes or Notes()
    fields = Fields({name: value for name, value in values.items() if name not in ignore_fields}, [])
    fields.take("model_type")
    _refuse_foreign(fields, family)
    config = _build(fields, family, notes)
    _note_ignored(values, ignore_fields, fields, family, notes)
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
    values: dict[str, Any], ignore_fields: Collection[str], fields: Fields, family: Family, notes: Notes
) -> None:
    for name in ignore_fields:
        if name not in values:
            fields.problems.append(f"{name} is to be ignored, but there is no such field")
        elif name in fields.read and name not in _OF_ALL | family.ignorable:
            fields.problems.append(f"{name} is to be ignored, but the model's numbers depend on it")
        else:
            notes.add(f"config.json: {name} = {shown(values[name])} was ignored on request")


def _refuse_foreign(fields: Fields, family: Family) -> None:
    named = fields.take("architectures")
    if named is not None and not (isinstance(named, list) and all(_is_class(name, family) for name in named)):
        fields.refuse("architectures", f"a {family.name} model is read as [{family.architecture!r}]")
    if fields.take("is_causal", True) is not True:  # the reference takes null as false
        fields.refuse("is_causal", "only causal attention is read")
    if fields.take("auto_map"):
        fields.refuse("auto_map", "it names code that came with the checkpoint, which is never executed")
    if fields.take("quantization_config"):
        fields.refuse("quantization_config", "quantised weights are not read: take the unquantised checkpoint")


def _is_class(name: Any, family: Family) -> bool:
    """Whether `name` is the family's model class or its base class, in any spelling: LLaMAForCausalLM, LlamaModel.

    FSDP renames the classes of the models that it wraps; the reference reads none of these names.
    """
    plain = name.lower().removeprefix("fsdp") if isinstance(name, str) else ""
    return plain in (family.architecture.lower(), f"{family.name.replace('_', '')}model")


def _build(fields: Fields, family: Family, notes: Notes) -> ModelConfig | None:
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    sizes = (fields.whole(family.spelled(name) or name, family.default(name)) for name in names)
    vocab_size, d_model, n_layers, n_heads, max_positions = sizes
    norm_eps = family.spelled("rms_norm_eps") or "rms_norm_eps"
    values: dict[str, Any] = dict(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=_n_kv_heads(fields, family, n_heads),
        head_dim=_head_dim(fields, family, d_model, n_heads),
        d_ff=_d_ff(fields, family, d_model),
        family=family.name,
        activation=activation_in(fields, family.spelled("hidden_act") or "", family.default("hidden_act")),
        norm_eps=fields.positive(norm_eps, family.default("rms_norm_eps")),
        max_positions=max_positions,
        rope=_rope(fields, family, max_positions, notes),
        tie_embeddings=fields.flag("tie_word_embeddings", family.default("tie_word_embeddings")),
    )
    if n_layers <= LARGEST["n_layers"]:  # some switches are lists of all layers
        values |= family.switches(fields, n_layers)
    if fields.ill_typed:
        return None  # further checks would compare with placeholder values
    try:
        return ModelConfig(**values)
    except LandedError as error:
        fields.problems.append(str(error).rstrip("."))
        return None


def _rope(fields: Fields, family: Family, max_positions: int, notes: Notes) -> RopeConfig:
    if family.spelled("rope_theta") is None:
        return DEFAULT_ROPE
    return read_rope(fields, max_positions, notes, family.default("rope_theta"))


def _d_ff(fields: Fields, family: Family, d_model: int) -> int:
    name, absent = family.spelled("intermediate_size") or "", family.default("intermediate_size")
    if absent is None and fields.take(name) is None:  # GPT-2
        return 4 * d_model
    return fields.whole(name, absent or 4 * d_model)


def _n_kv_heads(fields: Fields, family: Family, n_heads: int) -> int:
    absent = family.default("num_key_value_heads")
    if family.spelled("num_key_value_heads") is None:
        return n_heads
    if fields.take("num_key_value_heads", absent) is None:
        return n_heads
    return fields.whole("num_key_value_heads", absent or 1)


def _head_dim(fields: Fields, family: Family, d_model: int, n_heads: int) -> int:
    absent, has_own = family.default("head_dim"), family.spelled("head_dim") is not None
    if has_own and fields.take("head_dim", absent) is not None:
        return fields.whole("head_dim", absent or 2)
    if d_model % n_heads and not fields.ill_typed:
        width, heads = family.spelled("hidden_size") or "", family.spelled("num_attention_heads")
        fields.refuse(width, f"not a multiple of {heads} {n_heads}{', and there is no head_dim' if has_own else ''}")
        fields.ill_typed = True
    return max(d_model // n_heads, 1)
