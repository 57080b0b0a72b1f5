"""What a file is that stands in place of another: an empty one, a git-lfs pointer, a saved web page."""

from pathlib import Path

_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", "a git-lfs pointer in place of the file: run `git lfs pull` there"),
    (b"<!doctype html", "a web page saved under this name: download the file itself"),
    (b"<html", "a web page saved under this name: download the file itself"),
    (b"PK\x03\x04", "a zip or pickle file under another name: take a safetensors checkpoint"),
    (b"GGUF", "a GGUF file under another name: give this file itself as the model"),
)


def wrong_content(path: Path) -> str | None:
    """What the file at `path` is instead of what its name says, and what to do; None where that is not known.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "config.json").write_text("<!DOCTYPE html>")
    ...     wrong_content(Path(folder, "config.json"))
    'a web page saved under this name: download the file itself'
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(512)
    except OSError:
        return None
    if not beginning:
        return "an empty file: download it again"
    plain = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((said for start, said in _BEGINNINGS if plain.startswith(start.lower())), None)
