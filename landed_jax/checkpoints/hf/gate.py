"""The config gate: a Hugging Face config.json becomes a `ModelConfig`, or is refused with a list of all reasons.

Every field is honoured, or is known not to change the logits, or is refused.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from landed_jax.checkpoints.hf.fields import NONE, Fields
from landed_jax.checkpoints.hf.harmless import NO_CHANGE_UNLESS_SET, is_harmless
from landed_jax.checkpoints.hf.rope_gate import read_rope
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, Refusal, shown
from landed_jax.families import Family, Wrapper, families, wrappers
from landed_jax.families.reading import activation_in
from landed_jax.nn.config import LARGEST, ModelConfig

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
    kinds = {**families(), **wrappers()}
    kind = kinds.get(model_type) if isinstance(model_type, str) else None
    if kind is None:
        raise LandedError(f"model_type is {shown(model_type)}: these can be read so far: {', '.join(kinds)}.")
    reading = _Reading(ignore_fields, notes or Notes(), [])
    config = _wrapped(values, kind, reading) if isinstance(kind, Wrapper) else _plain(values, kind, reading)
    for name in ignore_fields:
        if not any(name in there for there in (values, values.get("text_config")) if isinstance(there, dict)):
            reading.problems.append(f"{name} is to be ignored, but there is no such field")
    if reading.problems or config is None:
        reasons = list(dict.fromkeys(reading.problems))
        raise Refusal("This config.json is not honoured in full, so the model is refused", reasons)
    return config


def wrapper_of(values: dict[str, Any]) -> Wrapper | None:
    """The kind of larger model that a config.json describes; None where it describes a text model alone."""
    model_type = values.get("model_type")
    return wrappers().get(model_type) if isinstance(model_type, str) else None


class _Reading(NamedTuple):
    """What one call of `config_from_hf` shares."""

    ignored: Collection[str]
    notes: Notes
    problems: list[str]

    def fields(self, values: dict[str, Any], where: str = "", spelling: Mapping[str, str | None] = NONE) -> Fields:
        """Access to those fields that are not to be ignored."""
        kept = {name: value for name, value in values.items() if name not in self.ignored}
        return Fields(kept, self.problems, where, spelling)

    def check_rest(self, values: dict[str, Any], fields: Fields, ignorable: frozenset[str]) -> None:
        """Refuse what was not read and might change the logits, and what is to be ignored and does change them."""
        for name in filter(values.__contains__, self.ignored):
            if name in fields.read and name not in _OF_ALL | ignorable:
                self.problems.append(f"{name} is to be ignored, but the model's numbers depend on it")
            else:
                self.notes.add(f"config.json: {fields.where}{name} = {shown(values[name])} was ignored on request")
        for name in fields.unread():
            value = values[name]
            # False is not neutral for an unknown switch; for is_causal it would change the logits.
            if value is not None and not (name in NO_CHANGE_UNLESS_SET and not value) and not is_harmless(name):
                why = "an unknown field, which might change the logits: see --ignore-field"
                self.problems.append(f"{fields.where}{name} = {shown(value)} ({why})")


def _plain(values: dict[str, Any], family: Family, reading: _Reading, where: str = "") -> ModelConfig | None:
    """The architecture that one object of fields describes."""
    fields = reading.fields(values, where, family.spelling)
    fields.take("model_type")
    _refuse_foreign(fields, family, reading.notes)
    config = _build(fields, family, reading.notes)
    reading.check_rest(values, fields, family.ignorable)
    return config


def _wrapped(values: dict[str, Any], wrapper: Wrapper, reading: _Reading) -> ModelConfig | None:
    """The architecture of the text model in a larger one. Whether its tables are one is said for the whole."""
    fields = reading.fields(values)
    for name in ("model_type", *wrapper.fields):
        fields.take(name)
    _refuse_foreign(fields, wrapper, reading.notes)
    tied = fields.flag("tie_word_embeddings", wrapper.tied)
    text: Any = fields.take("text_config")
    reading.check_rest(values, fields, wrapper.fields)
    if not isinstance(text, dict):
        fields.refuse("text_config", "not an object with the text model's fields")
        return None
    model_type = text.get("model_type", wrapper.texts[0])
    if model_type not in wrapper.texts:
        reading.problems.append(
            f"text_config.model_type = {shown(model_type)} (in {wrapper.name} only {', '.join(wrapper.texts)} is read)"
        )
        return None
    for name in sorted(wrapper.text_refused):
        if text.get(name) is not None:
            reading.problems.append(f"text_config.{name} = {shown(text[name])} ({wrapper.architecture} ignores it)")
    config = _plain(text, families()[model_type], reading, "text_config.")
    return None if config is None else dataclasses.replace(config, tie_embeddings=tied)


def _refuse_foreign(fields: Fields, family: Family | Wrapper, notes: Notes) -> None:
    named = fields.take("architectures")
    if named is not None and not (isinstance(named, list) and all(_is_class(name, family) for name in named)):
        fields.refuse("architectures", f"a {family.name} model is read as [{family.architecture!r}]")
    if fields.take("is_causal", True) is not True:  # the reference takes null as false
        fields.refuse("is_causal", "only causal attention is read")
    code = fields.take("auto_map")
    if code and _names_own_classes(code, family):
        notes.warn(
            "config.json: auto_map names code that came with the checkpoint; it was not executed, and the model is "
            f"read as transformers' own {family.architecture}"
        )
    elif code:
        fields.refuse("auto_map", "it names code that came with the checkpoint, which is never executed")
    if quantised := fields.take("quantization_config"):
        kind = quantised.get("quant_method") if isinstance(quantised, dict) else None
        packed = " packed in 4 bits (MXFP4)" if kind == "mxfp4" else ""
        fields.refuse("quantization_config", f"quantised weights{packed} are not read: take the unquantised checkpoint")


def _names_own_classes(code: Any, family: Family | Wrapper) -> bool:
    """Whether an ``auto_map`` names the classes that `transformers` has itself, which it then takes in their place."""
    stem = family.architecture.partition("For")[0]
    own = {f"{stem}Config", f"{stem}Model", family.architecture}
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM")  # others have no part in the logits
    named = [code[kind] for kind in kinds if kind in code] if isinstance(code, dict) else []
    return bool(named) and all(isinstance(name, str) and name.rpartition(".")[2] in own for name in named)


def _is_class(name: Any, family: Family | Wrapper) -> bool:
    """Whether `name` is the family's model class or its base class, in any spelling: LLaMAForCausalLM, LlamaModel.

    FSDP renames the classes of the models that it wraps; the reference reads none of these names.
    """
    plain = name.lower().removeprefix("fsdp") if isinstance(name, str) else ""
    return plain in (family.architecture.lower(), f"{family.name.replace('_', '')}model")


def _build(fields: Fields, family: Family, notes: Notes) -> ModelConfig | None:
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    vocab_size, d_model, n_layers, n_heads = (fields.whole(name, family.default(name)) for name in names)
    max_positions = fields.whole("max_position_embeddings", family.default("max_position_embeddings"))
    head_dim = _head_dim(fields, family, d_model, n_heads)
    values: dict[str, Any] = dict(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=_n_kv_heads(fields, family, n_heads),
        head_dim=head_dim,
        d_ff=_d_ff(fields, family, d_model),
        family=family.name,
        activation=activation_in(fields, "hidden_act", family.default("hidden_act")),
        norm_eps=fields.positive("rms_norm_eps", family.default("rms_norm_eps")),
        max_positions=max_positions,
        tie_embeddings=fields.flag("tie_word_embeddings", family.default("tie_word_embeddings")),
        **read_rope(fields, family, head_dim, max_positions, notes),
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


def _d_ff(fields: Fields, family: Family, d_model: int) -> int:
    absent = family.default("intermediate_size")
    if absent is None and fields.take("intermediate_size") is None:
        return 4 * d_model
    return fields.whole("intermediate_size", absent or 1)


def _n_kv_heads(fields: Fields, family: Family, n_heads: int) -> int:
    absent = family.default("num_key_value_heads")
    if fields.take("num_key_value_heads", absent) is None:
        return n_heads
    return fields.whole("num_key_value_heads", absent or 1)


def _head_dim(fields: Fields, family: Family, d_model: int, n_heads: int) -> int:
    absent = family.default("head_dim")
    if fields.take("head_dim", absent) is not None:
        return fields.whole("head_dim", absent or 2)
    if d_model % n_heads and not fields.ill_typed:
        absent = "" if family.spelled("head_dim") is None else ", and there is no head_dim"
        fields.refuse("hidden_size", f"not a multiple of {fields.named('num_attention_heads')} {n_heads}{absent}")
        fields.ill_typed = True
    return max(d_model // n_heads, 1)
