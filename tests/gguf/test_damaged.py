"""Damaged and hostile files: one sentence, at once, and nothing of a size that the file only states."""

import resource
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given, settings
from hypothesis import strategies as st

import landed_jax as landed
from landed_jax.checkpoints.gguf.header import is_gguf, read_header
from landed_jax.cli.commands import status_of
from landed_jax.errors import LandedError
from landed_jax.loading import check
from tests.gguf.files import write_gguf
from tests.gguf.test_metadata import file_with
from tests.gguf.test_tensors import CONFIG, fields

HUGE = 2**60


def head(n_tensors: int = 0, n_fields: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_fields)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tensor(*axes: int, kind: int = 0, offset: int = 0, name: bytes = b"a") -> bytes:
    return text(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, kind, offset)


def field(kind: int, value: bytes, name: bytes = b"x") -> bytes:
    return text(name) + struct.pack("<I", kind) + value


HOSTILE = {
    "empty": (b"GGUF", "it has 4 bytes"),
    "fields": (head(n_fields=HUGE), "it would have 1,152,921,504,606,846,976 fields"),
    "tensors": (head(n_tensors=HUGE), "it would have 1,152,921,504,606,846,976 tensors"),
    "fields that are not there": (head(n_fields=9), "its header would go on to byte"),
    "a long name": (head(n_fields=1) + struct.pack("<Q", HUGE), "its header would go on to byte"),
    "a long text": (head(n_fields=1) + field(8, struct.pack("<Q", 2**64 - 1)), "its header would go on to byte"),
    "a long list": (head(n_fields=1) + field(9, struct.pack("<IQ", 0, HUGE)), "the field 'x' would have 1,152,921"),
    "a long list of texts": (head(n_fields=1) + field(9, struct.pack("<IQ", 8, 2**22)), "its header would go on"),
    "lists of lists": (head(n_fields=1) + field(9, struct.pack("<IQ", 9, 1)), "is a list of type 9"),
    "a type that is none": (head(n_fields=1) + field(77, b""), "is of type 77"),
    "a name that is no text": (head(n_fields=1) + field(4, b"\0" * 4, b"\xff"), "is not UTF-8"),
    "a field twice": (head(n_fields=2) + 2 * field(4, b"\0" * 4), "the field 'x' is there twice"),
    "a step of 0": (head(n_fields=1) + field(4, b"\0" * 4, b"general.alignment"), "not a power of two"),
    "many axes": (head(1) + text(b"a") + struct.pack("<I", 2**31), "would have 2,147,483,648 axes"),
    "no axes": (head(1) + tensor(), "would have 0 axes"),
    "an axis of 0": (head(1) + tensor(0, 5), "has shape [5, 0], which cannot be of type F32"),
    "a huge tensor": (head(1) + tensor(HUGE, HUGE), "would end at byte"),
    "a tensor beyond the end": (head(1) + tensor(4, offset=2**63), "would end at byte"),
    "half a block": (head(1) + tensor(33, kind=8), "has shape [33], which cannot be of type Q8_0"),
    "an unknown type": (head(1) + tensor(4, kind=999), "is of type 999, which the package gguf does not know"),
    "a tensor twice": (head(2) + 2 * tensor(1) + bytes(64), "the tensor 'a' is there twice"),
    "the other byte order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is of version 50331648 of the format"),
    "an old version": (head(version=1), "is of version 1 of the format, and 2 and 3 are read"),
    "nothing": (head(), "The architecture in"),
}


def refused(file: Path) -> str:
    begun, held = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LandedError) as caught:
        landed.load(file)
    assert time.process_time() - begun < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 2**16  # KiB
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 6000
    return str(caught.value)


@pytest.mark.quick
@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(tmp_path: Path, name: str) -> None:
    data, said = HOSTILE[name]
    file = tmp_path / "m.gguf"
    file.write_bytes(data)
    assert said in refused(file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from landed_jax.checkpoints.hf.table import to_hf
    from tests.models import random_params

    tensors = dict(to_hf(random_params(CONFIG), CONFIG))
    more = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b"], "llama.f": 1}
    return write_gguf(
        tmp_path_factory.mktemp("whole") / "m.gguf", fields(), tensors, Kind.Q4_K, more=more, drop=("llama.f",)
    ).read_bytes()


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off(whole: bytes, share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("cut") / "m.gguf"
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(LandedError, match=r"damaged or cut off|no GGUF|an empty file"):
        landed.load(file)


_BYTES = st.sampled_from([0, 1, 2, 7, 8, 9, 31, 64, 127, 128, 255])


@pytest.mark.filterwarnings("ignore::landed_jax.errors.LandedWarning")
@settings(max_examples=60)
@given(edits=st.lists(st.tuples(st.floats(0, 1), _BYTES), min_size=1, max_size=4))
def test_changed_bytes_of_the_header(
    whole: bytes, edits: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each is refused in a sentence, or read."""
    changed = bytearray(whole)
    header = whole.index(b"blk.1.ffn_up") + 200
    for share, byte in edits:
        changed[4 + int(share * header)] = byte
    file = tmp_path_factory.mktemp("changed") / "m.gguf"
    file.write_bytes(changed)
    try:
        check(file)
    except LandedError as error:
        assert "\n" not in str(error)


def test_kinds_of_files(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert not is_gguf(file)
    with pytest.raises(LandedError, match=r"m\.gguf is a git-lfs pointer in place of the file"):
        landed.load(file)
    with pytest.raises(LandedError, match=r"m\.gguf is a git-lfs pointer"):
        read_header(file)
    file.write_bytes(b"hello" * 10)
    with pytest.raises(LandedError, match=r"m\.gguf is a file, and no GGUF"):
        landed.load(file)
    with pytest.raises(
        LandedError, match=r"holds m\.gguf, but no model\.safetensors: give the GGUF file itself, .*m\.gguf"
    ):
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
        landed.load(tmp_path)


def test_a_file_that_becomes_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_with(tmp_path)
    size = file.stat().st_size
    header = read_header(file)
    monkeypatch.setattr("landed_jax.checkpoints.gguf.survey.read_header", lambda _: header)
    with file.open("r+b") as opened:
        opened.truncate(size - 4000)
    with pytest.raises(LandedError, match="became shorter while it was read"):
        landed.load(file)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    file = file_with(tmp_path)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert status_of(["run", "--ids", "1 2", "--model", str(file)]) == 2
    said = capsys.readouterr().err
    assert (
        said
        == "landed: Reading a GGUF file needs the package gguf: pip install 'landed-jax[gguf]' (or pip install gguf).\n"
    )


@pytest.mark.parametrize("arguments", [["info"], ["run", "--ids", "1", "--model"], ["convert", "--hf"]])
def test_the_command_line_says_it_in_one_line(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(head(n_fields=HUGE))
    rest = [str(tmp_path / "new")] if arguments[0] == "convert" else []
    assert status_of([*arguments, str(file), *rest]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("landed: ") and printed.err.count("\n") == 1 and not printed.out
    assert not (tmp_path / "new").exists()


def test_tensors_that_overlap_are_read(tmp_path: Path) -> None:
    """No harm is done, and llama.cpp reads such files too."""
    file = tmp_path / "m.gguf"
    body = head(2) + tensor(4, name=b"a") + tensor(4, name=b"b")
    body += bytes(-len(body) % 32) + np.arange(4, dtype=np.float32).tobytes()
    file.write_bytes(body)
    assert {info.offset for info in read_header(file).tensors.values()} == {len(body) - 16}
