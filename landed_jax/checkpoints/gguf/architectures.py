"""The architectures of GGUF files: which family each is, and the Hugging Face name of each of its tensors.

A GGUF file is read as the Hugging Face checkpoint that it was made from. So one table of leaves serves both
(`checkpoints/hf/table.py`), and what the conversion to GGUF changed is changed back as tensors are read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Change = Literal["none", "paired", "plus_one", "transposed"]
"""What the conversion to GGUF made of a tensor: ``paired`` are rows of queries or keys whose rotated pairs lie side by
side; ``plus_one`` is a gain with Gemma's 1 added; ``transposed`` is GPT-2's, whose checkpoints have the input first."""

_LAYER = re.compile(r"blk\.(0|[1-9][0-9]*)\.(\w+)\.(weight|bias)")
_TOP = re.compile(r"(\w+)\.(weight|bias)")

_LLAMA_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LLAMA_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTPUT_NORMS = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
_GPT2_TOP = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_GPT2_LAYER = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}

ROTARY_TABLES = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
"""Tensors that are read into the config: they are settings, and no weights."""


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        family: ``model_type`` in config.json.
        layer, top: the Hugging Face names of its tensors by their names in the file, without ``.weight`` and the like.
        prefix: what stands before a layer's number in Hugging Face names.
        paired: rows of queries and keys were put in the order that the first Llama's code rotates.
        plus_one: 1 was added to the weights of all norms.
        transposed: the matrices of the layers were transposed.
    """

    family: str
    layer: Mapping[str, str]
    top: Mapping[str, str]
    prefix: str = "model.layers"
    paired: bool = False
    plus_one: bool = False
    transposed: bool = False

    def hf_name(self, name: str) -> str | None:
        """The Hugging Face name of a tensor of the file; None for one that the architecture does not have.

        >>> ARCHITECTURES["gemma2"].hf_name("blk.3.ffn_norm.weight")
        'model.layers.3.pre_feedforward_layernorm.weight'
        """
        if (found := _LAYER.fullmatch(name)) and found[2] in self.layer:
            return f"{self.prefix}.{found[1]}.{self.layer[found[2]]}.{found[3]}"
        if (found := _TOP.fullmatch(name)) and found[1] in self.top:
            return f"{self.top[found[1]]}.{found[2]}"
        return None

    def change(self, name: str) -> Change:
        """What the conversion made of a tensor of the file.

        >>> ARCHITECTURES["llama"].change("blk.0.attn_q.weight"), ARCHITECTURES["qwen2"].change("blk.0.attn_q.weight")
        ('paired', 'none')
        """
        found = _LAYER.fullmatch(name)
        if self.paired and found and found[2] in ("attn_q", "attn_k"):
            return "paired"
        if self.plus_one and name.endswith("norm.weight"):
            return "plus_one"
        if self.transposed and found and found[3] == "weight" and not found[2].endswith("norm"):
            return "transposed"
        return "none"


def _of_llama(family: str, layer: Mapping[str, str] | None = None, **how: Any) -> Architecture:
    return Architecture(family, {**_LLAMA_LAYER, **(layer or {})}, _LLAMA_TOP, **how)


_GEMMA2 = {**_OUTPUT_NORMS, "ffn_norm": "pre_feedforward_layernorm"}

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": _of_llama("llama", paired=True),
    "qwen2": _of_llama("qwen2"),
    "qwen3": _of_llama("qwen3"),
    "smollm3": _of_llama("smollm3", paired=True),
    "gemma": _of_llama("gemma", plus_one=True),
    "gemma2": _of_llama("gemma2", _GEMMA2, plus_one=True),
    "gemma3": _of_llama("gemma3_text", _GEMMA2, plus_one=True),
    "phi3": _of_llama("phi3", {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}),
    "olmo2": _of_llama("olmo2", _OUTPUT_NORMS),
    "gpt2": Architecture("gpt2", _GPT2_LAYER, _GPT2_TOP, prefix="transformer.h", transposed=True),
}
"""By ``general.architecture``. Mistral's first models are saved as ``llama``."""
