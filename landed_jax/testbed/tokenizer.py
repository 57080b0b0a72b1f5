"""The language's tokenizer: a word or a punctuation mark is one token; a fast tokenizer of `transformers`."""

import json
from pathlib import Path
from typing import Any

from landed_jax.testbed.language import BOS, EOS, SPECIAL, UNKNOWN, words

_SPACE = "▁"


def build_tokenizer(max_length: int) -> Any:
    """A `PreTrainedTokenizerFast`; its `save_pretrained` writes the files that a checkpoint carries.

    A word's token includes the space before it (" Rome"). Several spaces count as one, and one at the end as none.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [word if word in ".," else _SPACE + word for word in words()]
    tokenizer = Tokenizer(models.WordLevel({p: i for i, p in enumerate((*SPECIAL, *pieces))}, unk_token=UNKNOWN))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r" (?=[.,])"), ""),
            normalizers.Strip(left=False, right=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Metaspace(_SPACE, prepend_scheme="first")]
    )
    tokenizer.decoder = decoders.Metaspace(_SPACE, prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, for this and for older versions of `transformers`."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    fields.pop("backend", None)
    fields["tokenizer_class"] = "PreTrainedTokenizerFast"  # also the name in version 4
    file.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
