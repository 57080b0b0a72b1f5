"""The rotary fields of config.json, in either of their two spellings, as one `RopeConfig`."""

import math
from collections.abc import Callable
from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import shown
from landed_jax.nn.rope_config import RopeConfig

_SPELLINGS = ("rope_scaling", "rope_parameters")


def read_rope(fields: Fields, max_positions: int, notes: Notes, theta: float) -> RopeConfig:
    """The rotary embedding of a config; refusals are appended to ``fields.problems``.

    Args:
        fields: the config's top level.
        max_positions: the checkpoint's length, the default original length of llama3 and yarn.
        theta: the base where the config has none.
        notes: settings that the kind does not read are ignored with a warning, as the reference ignores them.
    """
    fields.take("partial_rotary_factor")
    fields.take("original_max_position_embeddings")
    fields.take("rope_theta")
    written = [name for name in _SPELLINGS if fields.take(name) not in (None, {})]
    for name in [n for n in written if not isinstance(fields.values[n], dict)]:
        fields.refuse(name, "not an object")
        fields.ill_typed = True
        written.remove(name)
    if not written:
        _check_partial(fields, "default", notes)
        return RopeConfig(theta=_theta(fields, fields, theta))
    ropes = [_read_object(fields, name, max_positions, notes, theta) for name in written]
    if len(ropes) == 2 and ropes[0] != ropes[1]:
        fields.refuse("rope_scaling", "says something else than rope_parameters does")
    return ropes[0]


def _read_object(top: Fields, name: str, max_positions: int, notes: Notes, default: float) -> RopeConfig:
    inner = Fields(top.values[name], top.problems, f"{name}.")
    kind = _kind(inner)
    theta = _theta(top, inner, default)
    _check_partial(inner if inner.values.get("partial_rotary_factor") is not None else top, kind, notes)
    inner.take("partial_rotary_factor")
    if kind not in _READERS:
        inner.refuse("rope_type" if "rope_type" in inner.values else "type", f"not one of {', '.join(_READERS)}")
        return RopeConfig()
    original = top if top.values.get("original_max_position_embeddings") is not None else inner
    rope = _READERS[kind](inner, theta, original, max_positions)
    for key in inner.unread():
        if isinstance(inner.values[key], dict):
            inner.refuse(key, "settings of one kind of layer, which this family does not have")
        elif inner.values[key] is not None:
            _ignore(inner, key, kind, notes)
    top.ill_typed |= inner.ill_typed or (original is top and top.ill_typed)
    return rope


def _kind(inner: Fields) -> Any:
    kinds = [inner.take(key) for key in ("rope_type", "type") if key in inner.values]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        inner.refuse("type", f"rope_type says {shown(kinds[0])}")
    if not kinds:
        return "default"
    return kinds[0] if isinstance(kinds[0], str) else None


def _theta(top: Fields, inner: Fields, default: float) -> float:
    return inner.positive("rope_theta") if "rope_theta" in inner.values else top.positive("rope_theta", default)


def _check_partial(fields: Fields, kind: Any, notes: Notes) -> None:
    if fields.values.get("partial_rotary_factor") in (None, 1):
        return
    if kind == "default":
        _ignore(fields, "partial_rotary_factor", kind, notes)
    else:
        fields.refuse("partial_rotary_factor", "only whole heads are rotated here")


def _ignore(fields: Fields, key: str, kind: str, notes: Notes) -> None:
    value = shown(fields.values[key])
    notes.warn(f"config.json: {fields.where}{key} = {value} is ignored, as transformers does: {kind} does not read it")


def _default(inner: Fields, theta: float, original: Fields, max_positions: int) -> RopeConfig:
    return RopeConfig(theta=theta)


def _linear(inner: Fields, theta: float, original: Fields, max_positions: int) -> RopeConfig:
    return RopeConfig("linear", theta, inner.positive("factor"))


def _dynamic(inner: Fields, theta: float, original: Fields, max_positions: int) -> RopeConfig:
    return RopeConfig("dynamic", theta, inner.positive("factor"))


def _llama3(inner: Fields, theta: float, original: Fields, max_positions: int) -> RopeConfig:
    inner.take("original_max_position_embeddings")
    low, high = inner.positive("low_freq_factor"), inner.positive("high_freq_factor")
    if high <= low and not inner.ill_typed:
        inner.refuse("high_freq_factor", f"not above low_freq_factor {low}")
    return RopeConfig(
        "llama3",
        theta,
        inner.positive("factor"),
        original_max_positions=original.whole("original_max_position_embeddings", max_positions),
        low_freq_factor=low,
        high_freq_factor=high,
    )


def _yarn(inner: Fields, theta: float, original: Fields, max_positions: int) -> RopeConfig:
    inner.take("original_max_position_embeddings")
    before = original.whole("original_max_position_embeddings", max_positions)
    written = "factor" in inner.values and inner.take("factor") is None  # null, not absent: the lengths' ratio
    factor = max_positions / before if written else inner.positive("factor")
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
        attention_factor=_attention_factor(inner, factor),
    )


def _turns(inner: Fields, name: str, default: float) -> float:
    return inner.positive(name) if inner.take(name) not in (None, 0) else default  # the reference takes 0 as unset


def _attention_factor(inner: Fields, factor: float) -> float:
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


_READERS: dict[str, Callable[[Fields, float, Fields, int], RopeConfig]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
}
