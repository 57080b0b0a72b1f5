"""The place of the bundled model."""

from pathlib import Path

BUNDLED = "bundled"
"""The name that opens it. A folder of the same name is opened as ``./bundled``."""


def bundled_folder() -> Path:
    """The folder in Hugging Face layout, with its model card.

    >>> sorted(file.name for file in bundled_folder().iterdir())
    ['MODEL_CARD.md', 'config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
    """
    return Path(__file__).parents[1] / "bundled"
