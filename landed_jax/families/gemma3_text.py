"""Gemma 3's text model: Gemma 2 with norms of queries and keys in place of capped scores, and two rotary bases."""

from typing import Any

from landed_jax.checkpoints.hf.fields import Fields
from landed_jax.families.family import Family
from landed_jax.families.gemma2 import HELD, NAMES, gemma_fields, gemma_switches
from landed_jax.families.reading import FULL, SLIDING, optional_positive, refuse_if_set, require
from landed_jax.nn.config import ModelConfig


def _switches(fields: Fields, n_layers: int) -> dict[str, Any]:
    if fields.take("attn_logit_softcapping") is not None:
        fields.refuse("attn_logit_softcapping", "the reference Gemma 3 ignores it")
    # Read by `read_rope`, which has no use for the kinds of layers.
    fields.take("rope_local_base_freq")
    period = 6 if fields.take("sliding_window_pattern") is None else fields.whole("sliding_window_pattern", 6)
    refuse_if_set(fields, "use_bidirectional_attention", "only causal attention is read")
    return {
        **gemma_switches(fields, [SLIDING if (layer + 1) % period else FULL for layer in range(n_layers)]),
        "qk_norm": "head",
        "logit_cap": optional_positive(fields, "final_logit_softcapping", None),
    }


def _fields(config: ModelConfig) -> dict[str, Any]:
    require(config, config.qk_norm == "head", "has a norm of each head's query and key")
    return gemma_fields(config)


FAMILY = Family(
    name="gemma3_text",
    architecture="Gemma3ForCausalLM",
    switches=_switches,
    fields=_fields,
    held=HELD | {"qk_norm", "local_rope"},
    defaults={
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
    },
    names=NAMES,
    examples=("google/gemma-3-270m", "google/gemma-3-1b-it"),
)
