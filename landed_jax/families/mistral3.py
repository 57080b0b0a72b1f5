"""Mistral Small 3.1 and 3.2, and Ministral 3: a Mistral or a Ministral 3 that may see images, of which text is read."""

from landed_jax.families.family import Wrapper

WRAPPER = Wrapper(
    name="mistral3",
    architecture="Mistral3ForConditionalGeneration",
    texts=("mistral", "ministral3"),
    fields=frozenset(
        {"vision_config", "image_token_index", "multimodal_projector_bias", "projector_hidden_act"}
        | {"spatial_merge_size", "vision_feature_layer"}
    ),
    examples=("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "mistralai/Ministral-3-3B-Base-2512"),
)
