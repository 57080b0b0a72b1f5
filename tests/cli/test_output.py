"""JSON on standard output, whatever the encoding that it has."""

import io
import json
import sys

import pytest

from landed_jax.cli.output import encoding_of, write_text
from landed_jax.files.json_text import json_text

TEXT = 'σ 北京 é \0 \x1b[31m \u202e \u2028 \U000e0001 \ud800 [red] \\ "'


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
def test_every_text_comes_back(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    # As the command line sets it: a letter that the encoding lacks would become a question mark.
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="replace"))
    write_text(json_text({TEXT: [TEXT]}, encoding_of("-")), "-")
    sys.stdout.flush()
    text = written.getvalue().decode(encoding)
    assert json.loads(text) == {TEXT: [TEXT]}
    assert all(line.isprintable() for line in text.splitlines())
