"""Reading a JSON object from a file, with plain errors."""

import json
from pathlib import Path
from typing import Any

from landed_jax.errors import LandedError
from landed_jax.files.wrong_content import wrong_content


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        LandedError: if the file is missing, unreadable, not JSON, or does not contain an object.
    """
    if path.exists() and not path.is_file():  # a pipe or a device might never end
        raise LandedError(f"{path} is not an ordinary file.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LandedError(f"{path.parent} has no {path.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        if (instead := wrong_content(path)) is not None:
            raise LandedError(f"{path} is {instead}.") from error
        raise LandedError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise LandedError(f"{path} holds a JSON {type(values).__name__}, not an object of fields.")
    return values
