"""Gemma 3 of 4 billion parameters and more: one that may see images, of which the text model is read."""

from landed_jax.families.family import Wrapper

WRAPPER = Wrapper(
    name="gemma3",
    architecture="Gemma3ForConditionalGeneration",
    texts=("gemma3_text",),
    fields=frozenset(
        {"vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index"}
        | {"boi_token_id", "eoi_token_id", "image_token_id"}
    ),
    text_refused=frozenset({"final_logit_softcapping"}),
    examples=("google/gemma-3-4b-it", "google/gemma-3-27b-pt"),
)
