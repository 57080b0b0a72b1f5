"""The config gate: a Hugging Face config.json becomes a `ModelConfig`, or is refused with a list of all reasons.

Every field is honoured, or is known not to change the logits, or is refused.
"""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields, shown
from landed_jax.checkpoints.hf.rope_gate import read_rope
from landed_jax.errors import LandedError, listed
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

_NOT_THE_LOGITS = frozenset(
    # origin of the checkpoint
    {"initializer_range", "transformers_version", "dtype", "torch_dtype", "name_or_path", "tokenizer_class"}
    | {"pretraining_tp", "finetuning_task", "task_specific_params", "unsloth_fixed", "unsloth_version"}
    # training only
    | {"attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"}
    | {"gradient_checkpointing", "use_bfloat16", "tf_legacy_loss"}
    # how a forward pass is run, and what it returns
    | {"use_cache", "return_dict", "use_return_dict", "output_attentions", "output_hidden_states", "torchscript"}
    | {"attn_implementation", "chunk_size_feed_forward"}
    # special tokens, and heads for other tasks
    | {"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id"}
    | {"id2label", "label2id", "num_labels", "problem_type", "prefix"}
    # generation settings, which old versions saved in config.json
    | {"max_length", "max_new_tokens", "min_length", "min_new_tokens", "do_sample", "early_stopping", "num_beams"}
    | {"num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "min_p", "typical_p"}
    | {"epsilon_cutoff", "eta_cutoff", "repetition_penalty", "length_penalty", "no_repeat_ngram_size"}
    | {"encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores"}
    | {"return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values"}
    | {"exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"}
    # fields of popular checkpoints that the reference does not read
    | {"is_llama_config", "transformers.js_config", "max_sequence_length", "is_decoder", "loss_type"}
    | {"use_flash_attn", "use_flash_attn_2", "neftune_noise_alpha"}
    | {"summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout"}
)

_NO_CHANGE_UNLESS_SET = frozenset(
    {"is_encoder_decoder", "add_cross_attention", "tie_encoder_decoder", "pruned_heads", "rope_interleaved"}
    | {"cross_attention_hidden_size", "use_sliding_window"}
)


def config_from_hf(values: Any) -> ModelConfig:
    """The architecture that a parsed config.json describes.

    Args:
        values: the JSON object of a Llama or Mistral checkpoint. An absent field has the default of `transformers`'
            configuration class.

    Raises:
        LandedError: with every field that is not honoured, its value and the reason.

    >>> config_from_hf({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}).head_dim
    16
    >>> config_from_hf({"model_type": "llama", "logit_scale": 2.0})
    Traceback (most recent call last):
    landed_jax.errors.LandedError: This config.json is not honoured in full, so the model is refused: logit_scale = \
2.0 (an unknown field, which might change the logits).
    """
    if not isinstance(values, dict):
        raise LandedError(f"A config.json must hold an object of fields, not {shown(values)}.")
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise LandedError(
            f"model_type is {shown(model_type)}: only {' and '.join(ARCHITECTURES)} models can be read so far."
        )
    fields = Fields(values, [])
    fields.take("model_type")
    _refuse_foreign(fields, model_type)
    config = _build(fields, model_type)
    for name in fields.unread():
        value = values[name]
        # False is not neutral for an unknown switch; for is_causal it would change the logits.
        if value is None or (name in _NO_CHANGE_UNLESS_SET and not value):
            continue
        if not name.startswith(("_", "unsloth_")) and name not in _NOT_THE_LOGITS:
            fields.refuse(name, "an unknown field, which might change the logits")
    if fields.problems or config is None:
        reasons = listed(list(dict.fromkeys(fields.problems)))
        raise LandedError(f"This config.json is not honoured in full, so the model is refused: {reasons}.")
    return config


def _refuse_foreign(fields: Fields, model_type: str) -> None:
    expected = ARCHITECTURES[model_type]
    if fields.take("architectures") not in (None, [], [expected]):
        fields.refuse("architectures", f"a {model_type} model is read as [{expected!r}]")
    if fields.take("is_causal", True) is not True:  # the reference takes null as false
        fields.refuse("is_causal", "only causal attention is read")
    if fields.take("auto_map"):
        fields.refuse("auto_map", "it names code that came with the checkpoint, which is never executed")
    if fields.take("quantization_config"):
        fields.refuse("quantization_config", "quantised weights are not read: take the unquantised checkpoint")


def _build(fields: Fields, model_type: str) -> ModelConfig | None:
    vocab_size, d_model, n_layers, n_heads = (fields.whole(name, default) for name, default in _SIZES.items())
    max_positions = fields.whole("max_position_embeddings", _LENGTH[model_type])
    window = _sliding_window(fields, model_type)
    _check_layer_types(fields, n_layers, window)
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
        rope=read_rope(fields, max_positions),
        sliding_window=window,
        attention_bias=_bias(fields, "attention_bias", model_type),
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
    if fields.take("layer_types") not in (None, [], [kind] * n_layers):
        fields.refuse("layer_types", f"every one of the {n_layers} layers must be {kind}")
