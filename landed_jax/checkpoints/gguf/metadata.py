"""The metadata of a GGUF file as the fields of a config.json, which then pass the one gate."""

from collections.abc import Callable, Collection
from typing import Any

from landed_jax.checkpoints.gguf.architectures import ARCHITECTURES, Architecture
from landed_jax.checkpoints.gguf.header import Header
from landed_jax.checkpoints.gguf.rotary import rope_scaling
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.notes import Notes
from landed_jax.errors import LandedError, Refusal, shown
from landed_jax.nn.config import ModelConfig

_PLAIN = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.freq_base_swa": "rope_local_base_freq",
}
_GPT2 = {
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "block_count": "n_layer",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}
_NEEDED = frozenset(
    {"context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"}
    | {"attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"}
)
# What no logit depends on, or the tensors say as well.
_HARMLESS = frozenset({"vocab_size", "rope.scaling.finetuned", "tensor_data_layout"})
# What a dense model says by 0.
_ZERO = frozenset({"expert_count", "expert_used_count", "expert_shared_count", "nextn_predict_layers"})
_SCALING = "rope.scaling."
_PARTLY_ROTATED = frozenset({"phi3"})  # families whose config can say that part of each head is rotated


def architecture_of(header: Header) -> Architecture:
    """The architecture of a file.

    Raises:
        LandedError: for one that is not read, a file of something else than a model, and one of several files.
    """
    kind = header.fields.get("general.type", "model")
    if kind != "model":
        raise LandedError(f"{header.file} is no model: its general.type is {shown(kind)}.")
    parts = header.fields.get("split.count", 0)
    if type(parts) is int and parts > 1:
        raise LandedError(
            f"{header.file} is one of {parts} parts of a model: join them with `llama-gguf-split --merge`, and open "
            "the one file."
        )
    name = header.fields.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise LandedError(
            f"The architecture in {header.file} is {shown(name)}: these can be read: {', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[name]


def config_fields(header: Header) -> dict[str, Any]:
    """The fields of config.json that this metadata means. A field that is not known keeps its name, for the gate.

    Raises:
        LandedError: as `architecture_of` does, for rotary tables that are not read, or sizes that are no numbers.
    """
    architecture = architecture_of(header)
    prefix = f"{header.fields['general.architecture']}."
    left = {
        name.removeprefix(prefix): _alike(value) for name, value in header.fields.items() if name.startswith(prefix)
    }
    left = {name: value for name, value in left.items() if name not in _HARMLESS and not (name in _ZERO and value == 0)}
    plain = _GPT2 if architecture.family == "gpt2" else _PLAIN
    lacking = [prefix + name for name in plain if name in _NEEDED and name not in left]
    if lacking or "token_embd.weight" not in header.tensors:
        raise LandedError(f"{header.file} is no whole model: it has no {(lacking or ['token_embd.weight'])[0]}.")
    found: dict[str, Any] = {"model_type": architecture.family}
    found |= {ours: left.pop(theirs) for theirs, ours in plain.items() if theirs in left}
    found["vocab_size"] = header.tensors["token_embd.weight"].shape[0]
    found["tie_word_embeddings"] = "output.weight" not in header.tensors
    if plain is _PLAIN:
        _add_heads(found, left)
        _add_rotary(found, left, header)
        if found.get("sliding_window") == 0:
            found["sliding_window"] = None
        found |= _OWN.get(architecture.family, _nothing)(found, header)
    return found | {prefix + name: value for name, value in left.items()}


def config_of(header: Header, ignore_fields: Collection[str] = (), notes: Notes | None = None) -> ModelConfig:
    """The architecture that a file's metadata describes, through the gate of config.json.

    Raises:
        LandedError: for what is not read; a `Refusal` names every field that is not honoured.
    """
    fields = config_fields(header)
    try:
        return config_from_hf(fields, ignore_fields, notes)
    except Refusal as error:
        start = f"The metadata of {header.file} is not honoured in full, so the model is refused"
        raise Refusal(start, error.problems) from None


def _alike(value: Any) -> Any:
    """One number in place of a list of one for each layer, where all are alike."""
    return value[0] if isinstance(value, list) and value and all(item == value[0] for item in value) else value


def _add_heads(found: dict[str, Any], left: dict[str, Any]) -> None:
    """What the format leaves out where it is the usual, and the families' configuration classes take otherwise."""
    width, n_heads = found["hidden_size"], found["num_attention_heads"]
    found.setdefault("num_key_value_heads", n_heads)
    found.setdefault("rope_theta", 10_000.0)
    if left.get("attention.value_length") == left.get("attention.key_length"):
        left.pop("attention.value_length", None)
    if "attention.key_length" in left:
        found["head_dim"] = left.pop("attention.key_length")
    elif type(width) is int and type(n_heads) is int and n_heads > 0 and width % n_heads == 0:
        found["head_dim"] = width // n_heads
    if left.get("attention.causal") is True:
        del left["attention.causal"]


def _add_rotary(found: dict[str, Any], left: dict[str, Any], header: Header) -> None:
    head_dim = found.get("head_dim")
    rotated: Any = left.get("rope.dimension_count", head_dim)
    if rotated == head_dim:
        left.pop("rope.dimension_count", None)
    elif found["model_type"] in _PARTLY_ROTATED and type(rotated) is int and type(head_dim) is int and head_dim > 0:
        found["partial_rotary_factor"] = left.pop("rope.dimension_count") / head_dim
    if "rope.scale_linear" in left:  # the name in the first files
        left |= {f"{_SCALING}type": "linear", f"{_SCALING}factor": left.pop("rope.scale_linear")}
    taken = {name.removeprefix(_SCALING): left.pop(name) for name in list(left) if name.startswith(_SCALING)}
    if "rope_factors_long.weight" in header.tensors and "original_context_length" in taken:
        found["original_max_position_embeddings"] = taken.pop("original_context_length")
    if (scaling := rope_scaling(header, taken, found["rope_theta"], rotated)) is not None:
        found["rope_scaling"] = scaling
    left |= {_SCALING + name: value for name, value in taken.items()}


def _has(header: Header, name: str) -> bool:
    return f"blk.0.{name}" in header.tensors


def _nothing(found: dict[str, Any], header: Header) -> dict[str, Any]:
    return {}


def _attention_bias(found: dict[str, Any], header: Header) -> dict[str, Any]:
    return {"attention_bias": _has(header, "attn_q.bias")}


def _all_biases(found: dict[str, Any], header: Header) -> dict[str, Any]:
    return {"attention_bias": _has(header, "attn_q.bias"), "mlp_bias": _has(header, "ffn_gate.bias")}


def _query_scale(deep: int) -> Callable[[dict[str, Any], Header], dict[str, Any]]:
    """Gemma's largest models divide scores by another number than the head's size, which no field says.

    Args:
        deep: how many layers the model has that does; llama.cpp knows it by this number too.
    """

    def scale(found: dict[str, Any], header: Header) -> dict[str, Any]:
        width, n_heads, head_dim = (found.get(name) for name in ("hidden_size", "num_attention_heads", "head_dim"))
        if found["num_hidden_layers"] == deep and type(width) is int and type(n_heads) is int and n_heads > 0:
            return {"query_pre_attn_scalar": width // n_heads}
        return {"query_pre_attn_scalar": head_dim}

    return scale


_OWN: dict[str, Callable[[dict[str, Any], Header], dict[str, Any]]] = {
    "llama": _all_biases,
    "smollm3": _all_biases,
    "qwen3": _attention_bias,
    "gemma": _attention_bias,
    "gemma2": _query_scale(46),
    "gemma3_text": _query_scale(62),
}
