"""The rotary fields of config.json, in either of their two spellings, as those of `ModelConfig`."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import shown
from landed_jax.families.family import Family
from landed_jax.nn.rope_config import RopeConfig
from landed_jax.nn.values import is_number

_SPELLINGS = ("rope_scaling", "rope_parameters")
_ORIGINAL = "original_max_position_embeddings"
_KINDS_OF_LAYERS = ("full_attention", "sliding_attention")


class _Top(NamedTuple):
    """What the settings of one rotary embedding are read with.

    Attributes:
        fields: the config's top level.
        by_layer: whether each kind of layer has settings of its own, which the top level's lengths are not for.
    """

    fields: Fields
    family: Family
    head_dim: int
    max_positions: int
    notes: Notes
    by_layer: bool


def read_rope(fields: Fields, family: Family, head_dim: int, max_positions: int, notes: Notes) -> dict[str, Any]:
    """The rotary fields of `ModelConfig`; refusals are appended to ``fields.problems``.

    A family that holds `local_rope` has settings by kind of layer, and ``rope_scaling`` is for full attention alone;
    where it has a default of ``rope_local_base_freq``, that is the windows' base. A family's default of
    ``rope_parameters`` stands for absent ones.

    Args:
        fields: the config's top level.
        max_positions: the checkpoint's length, the default original length of llama3, yarn and longrope.
        notes: settings that the kind does not read are ignored with a warning, as the reference ignores them.
    """
    for name in ("partial_rotary_factor", _ORIGINAL, "rope_theta"):
        fields.take(name)
    written = {name: fields.values[name] for name in _SPELLINGS if fields.take(name) not in (None, {})}
    for name in [name for name, value in written.items() if not isinstance(value, dict)]:
        fields.refuse(name, "not an object")
        fields.ill_typed = True
        del written[name]
    by_layer = "local_rope" in family.held
    top = _Top(fields, family, head_dim, max_positions, notes, by_layer)
    if by_layer:
        return _read_by_layer(top, written)
    objects = written or {"rope_parameters": family.defaults.get("rope_parameters", {})}
    theta = family.default("rope_theta")
    ropes = [_read_object(top, Fields(values, fields.problems, f"{name}."), theta) for name, values in objects.items()]
    if len(ropes) == 2 and ropes[0] != ropes[1]:
        fields.refuse("rope_scaling", "says something else than rope_parameters does")
    return ropes[0]


def _read_by_layer(top: _Top, written: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    fields, family = top.fields, top.family
    parameters, scaling = (written.get(name, {}) for name in ("rope_parameters", "rope_scaling"))
    if fields.values.get(_ORIGINAL) is not None:
        fields.refuse(_ORIGINAL, "the reference reads it for each kind of layer, in rope_parameters")
    for name in filter(lambda name: name not in _KINDS_OF_LAYERS, parameters):
        fields.refuse(
            "rope_parameters", f"{name} is there for all layers, where this family has settings by their kind"
        )
    given = {}
    for name in _KINDS_OF_LAYERS:
        given[name] = {} if parameters.get(name) is None else parameters[name]
        if not isinstance(given[name], dict):
            fields.refuse("rope_parameters", f"{name} is not an object")
            given[name] = {}
    # As in the reference, a base at the top is that of full attention alone.
    theta, local_theta = fields.positive("rope_theta", family.default("rope_theta")), family.default("rope_theta")
    if (absent := family.defaults.get("rope_local_base_freq")) is not None:
        local_theta = fields.positive("rope_local_base_freq", absent)
    where = "rope_scaling." if scaling else "rope_parameters.full_attention."
    full = _read_object(top, Fields({**given["full_attention"], **scaling}, fields.problems, where), theta)
    inner = Fields(given["sliding_attention"], fields.problems, "rope_parameters.sliding_attention.")
    local = _read_object(top, inner, local_theta)
    return {**full, "local_rope": local["rope"]}


def _read_object(top: _Top, inner: Fields, default_theta: float) -> dict[str, Any]:
    """The settings of one object, of which `inner` is the content."""
    kind = _kind(inner, top.family)
    theta = inner.positive("rope_theta") if "rope_theta" in inner.values else _outer_theta(top, default_theta)
    read = _rotary_dim(top, inner, kind)
    if kind is None:
        return {"rope": RopeConfig(), **read}
    rope = _READERS[kind](top, inner, theta)
    if "query_growth" in top.family.held:
        original = _original(top, inner)
        if (growth := _growth(inner)) != 0:
            read["query_growth"] = growth
            rope = dataclasses.replace(rope, original_max_positions=original)
    for key in inner.unread():
        if isinstance(inner.values[key], dict):
            inner.refuse(key, "settings of one kind of layer, which this family does not have")
        elif inner.values[key] is not None:
            _ignore(inner, key, kind, top.notes)
    top.fields.ill_typed |= inner.ill_typed
    return {"rope": rope, **read}


def _growth(inner: Fields) -> float:
    if "llama_4_scaling_beta" in inner.values:
        return inner.number("llama_4_scaling_beta", 0.0)
    inner.refuse("llama_4_scaling_beta", "not there, and is needed")
    return 0.0


def _kind(inner: Fields, family: Family) -> Any:
    """The kind by the package's name; None where it is none of the family's."""
    named = {key: inner.take(key) for key in ("rope_type", "type") if key in inner.values}
    known = dict(zip(_READERS, _READERS, strict=True)) if family.rope_kinds is None else family.rope_kinds
    kinds = [known.get(name) if isinstance(name, str) else None for name in named.values()]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        inner.refuse("type", f"rope_type says {shown(named['rope_type'])}")
    if named and kinds[0] is None:
        inner.refuse(next(iter(named)), f"not one of {', '.join(known)}")
    return kinds[0] if named else "default"


def _outer_theta(top: _Top, default: float) -> float:
    return default if top.by_layer else top.fields.positive("rope_theta", default)


def _rotary_dim(top: _Top, inner: Fields, kind: Any) -> dict[str, Any]:
    """How many coordinates of a head are rotated, where the family may rotate a part of them."""
    fields = inner if inner.values.get("partial_rotary_factor") is not None else top.fields
    inner.take("partial_rotary_factor")
    default = top.family.default("partial_rotary_factor")
    part = default if fields.values.get("partial_rotary_factor") is None else fields.values["partial_rotary_factor"]
    if "rotary_dim" in top.family.held:
        if is_number(part) and 0 < part <= 1 and int(top.head_dim * part) >= 2:
            return {"rotary_dim": int(top.head_dim * part)}
        fields.refuse("partial_rotary_factor", f"not a part of the {top.head_dim} coordinates of a head")
    elif part != 1 and kind == "default":
        _ignore(fields, "partial_rotary_factor", kind, top.notes)
    elif part != 1:
        fields.refuse("partial_rotary_factor", "this family rotates whole heads")
    return {}


def _ignore(fields: Fields, key: str, kind: str, notes: Notes) -> None:
    value = shown(fields.values[key])
    notes.warn(f"config.json: {fields.where}{key} = {value} is ignored, as transformers does: {kind} does not read it")


def _original(top: _Top, inner: Fields) -> int:
    """The context length before scaling: the top level's, which a class may have a default of, goes before."""
    inner.take(_ORIGINAL)
    absent = top.family.defaults.get(_ORIGINAL)
    if not top.by_layer and (absent is not None or top.fields.values.get(_ORIGINAL) is not None):
        return top.fields.whole(_ORIGINAL, absent or 1)
    return inner.whole(_ORIGINAL, top.max_positions)


def _default(top: _Top, inner: Fields, theta: float) -> RopeConfig:
    return RopeConfig(theta=theta)


def _linear(top: _Top, inner: Fields, theta: float) -> RopeConfig:
    return RopeConfig("linear", theta, inner.positive("factor"))


def _dynamic(top: _Top, inner: Fields, theta: float) -> RopeConfig:
    return RopeConfig("dynamic", theta, inner.positive("factor"))


def _llama3(top: _Top, inner: Fields, theta: float) -> RopeConfig:
    low, high = inner.positive("low_freq_factor"), inner.positive("high_freq_factor")
    if high <= low and not inner.ill_typed:
        inner.refuse("high_freq_factor", f"not above low_freq_factor {low}")
    return RopeConfig(
        "llama3",
        theta,
        inner.positive("factor"),
        original_max_positions=_original(top, inner),
        low_freq_factor=low,
        high_freq_factor=high,
    )


def _yarn(top: _Top, inner: Fields, theta: float) -> RopeConfig:
    before = _original(top, inner)
    written = "factor" in inner.values and inner.take("factor") is None  # null, not absent: the lengths' ratio
    factor = top.max_positions / before if written else inner.positive("factor")
    if theta == 1:
        inner.problems.append("rope_theta = 1 (yarn divides by its logarithm, which is 0)")
    truncate = inner.take("truncate", True)
    if truncate is not None and not isinstance(truncate, bool):
        inner.refuse("truncate", "not true or false")
    return RopeConfig(
        "yarn",
        theta,
        factor,
        original_max_positions=before,
        beta_fast=_turns(inner, "beta_fast", 32.0),
        beta_slow=_turns(inner, "beta_slow", 1.0),
        truncate=bool(truncate),  # the reference takes null as false
        attention_factor=_yarn_attention(inner, factor),
    )


def _turns(inner: Fields, name: str, default: float) -> float:
    return inner.positive(name) if inner.take(name) not in (None, 0) else default  # the reference takes 0 as unset


def _yarn_attention(inner: Fields, factor: float) -> float:
    """The factor on cos and sin, from those of the three keys that are present (YaRN, section 3.4)."""
    mscale, over = (inner.number(key, 0.0) if inner.take(key) else 0.0 for key in ("mscale", "mscale_all_dim"))
    if inner.take("attention_factor") is not None:
        return inner.number("attention_factor", 1.0)
    growth = 0.1 * math.log(factor) if factor > 1 else 0.0
    for key, value in (("mscale", mscale), ("mscale_all_dim", over)):
        if value < 0:
            inner.refuse(key, "below 0")
            return 1.0
    if mscale and over:
        return (mscale * growth + 1) / (over * growth + 1)
    return growth + 1


def _longrope(top: _Top, inner: Fields, theta: float) -> RopeConfig:
    before = _original(top, inner)
    factor = top.max_positions / before if inner.take("factor") is None else inner.positive("factor")
    return RopeConfig(
        "longrope",
        theta,
        original_max_positions=before,
        attention_factor=_longrope_attention(inner, factor, before),
        short_factors=_factors(inner, "short_factor"),
        long_factors=_factors(inner, "long_factor"),
    )


def _longrope_attention(inner: Fields, factor: float, before: int) -> float:
    """The factor on cos and sin (LongRoPE, section 3.2)."""
    if inner.take("attention_factor") is not None:
        return inner.number("attention_factor", 1.0)
    if factor <= 1:
        return 1.0
    if before == 1:
        inner.refuse(_ORIGINAL, "longrope divides by the logarithm of the original length, which is 0 for 1")
        return 1.0
    return math.sqrt(1 + math.log(factor) / math.log(before))


def _factors(inner: Fields, name: str) -> tuple[float, ...]:
    values = inner.take(name)
    if isinstance(values, list) and values and all(map(is_number, values)):
        return tuple(values)
    inner.refuse(name, "not a list of numbers")
    inner.ill_typed = True
    return (1.0,)


_READERS: dict[str, Callable[[_Top, Fields, float], RopeConfig]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
