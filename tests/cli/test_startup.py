"""What a run costs before it says anything: imports, programs kept between runs, one program for many lengths."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr
from transformers import AutoTokenizer

import landed_jax as landed
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.checkpoints.hf.tokenizer import load_vocabulary
from landed_jax.cli.cache import cache_folder, cache_settings, processor_name, use_cache
from landed_jax.report.account import account_for
from landed_jax.report.dataset import run_dataset
from landed_jax.report.document import run_document
from landed_jax.report.padding import without_padding
from landed_jax.report.sections import sections as all_sections
from landed_jax.tokens import Tokens, bucket_length
from landed_jax.vocabulary import Vocabulary
from tests.compiling import compilations
from tests.models import CONFIGS, random_params, random_tokens

# A command makes the settings, and one small program stands for a run's.
A_COMMAND_AND_A_PROGRAM = """
import sys
from landed_jax.cli.commands import status_of
assert status_of([*sys.argv[1:], "run", "--help"]) == 0
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if "cache_hits" in event else None)
assert jax.jit(lambda x: 2 * x + 1)(3.0) == 7
print(len(hits))
"""


def start(folder: Path | str, *arguments: str) -> subprocess.Popen[str]:
    """A process of a user who has set nothing but where the cache is."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMPILATION", "JAX_PERSISTENT"))}
    environment |= {"LANDED_CACHE_DIR": str(folder), "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-c", A_COMMAND_AND_A_PROGRAM, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def hits(process: subprocess.Popen[str]) -> int:
    """How many programs a process found, which said nothing beside its work."""
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return int(out.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["run", "--help"], 0),
        (["run", "a prompt", "--no-such-section"], 2),
        (["run", "a prompt", "--top", "-1"], 2),
        (["run", "a prompt", "--json", "/no/such/folder/x.json"], 2),
    ],
)
def test_help_and_refusals_import_nothing_heavy(arguments: list[str], status: int) -> None:
    code = "import sys; from landed_jax.cli.commands import status_of; print(status_of(sys.argv[1:]), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    said, *imported = done.stdout.splitlines()[-1].split()
    assert int(said) == status
    assert not {"jax", "numpy", "flax", "rich", "transformers", "landed_jax.model"} & set(imported)


def test_names_are_the_public_ones_whatever_is_imported_first() -> None:
    code = "import landed_jax.forward_pass, landed_jax as landed; assert callable(landed.forward)"
    code += "; import landed_jax.analysis.attribution._attribute; assert callable(landed.attribution.attribute)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(landed.__all__) <= set(dir(landed))
    for name in landed.__all__:
        assert getattr(landed, name) is not None
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = landed.nothing_such


def test_programs_are_kept_for_the_next_run_and_two_at_once_are_safe(tmp_path: Path) -> None:
    for process in [start(tmp_path), start(tmp_path)]:
        hits(process)
    assert hits(start(tmp_path)) > 0
    entries = list(tmp_path.rglob("*-cache"))
    assert entries and all(entry.parent == tmp_path / "xla" / processor_name() for entry in entries)
    for entry in entries:
        entry.write_bytes(b"cut off")
    assert hits(start(tmp_path)) == 0


def test_without_a_cache_the_run_works_in_silence(tmp_path: Path) -> None:
    taken = tmp_path / "a file"
    taken.touch()
    folder = tmp_path / "unused"
    for process in [start(taken), start(folder, "--no-cache")]:
        assert hits(process) == 0
    assert not folder.exists()


def test_the_place_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    name = processor_name()
    for environment, system, parent in (
        ({}, "linux", "/home/ann/.cache/landed_jax/xla"),
        ({"XDG_CACHE_HOME": "/var/c"}, "linux", "/var/c/landed_jax/xla"),
        ({"XDG_CACHE_HOME": "not/absolute"}, "linux", "/home/ann/.cache/landed_jax/xla"),
        ({"XDG_CACHE_HOME": "/var/c"}, "darwin", "/home/ann/Library/Caches/landed_jax/xla"),
        ({"LANDED_CACHE_DIR": "~/mine"}, "darwin", "/home/ann/mine/xla"),
    ):
        assert cache_folder(environment, system) == Path(parent) / name
    assert cache_folder({"LANDED_CACHE_DIR": "~no-such-user/x"}) is None


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "jax")  # as in a process that has not imported it
    theirs = {"JAX_COMPILATION_CACHE_DIR": "/theirs"}
    use_cache(theirs)
    assert theirs == {"JAX_COMPILATION_CACHE_DIR": "/theirs"}
    mine = {"LANDED_CACHE_DIR": str(tmp_path), "JAX_COMPILATION_CACHE_MAX_SIZE": "5"}
    use_cache(mine)
    assert mine == cache_settings(tmp_path / "xla" / processor_name()) | mine
    assert mine["JAX_COMPILATION_CACHE_MAX_SIZE"] == "5"


def test_processors_have_names_of_their_own(tmp_path: Path) -> None:
    first, other, absent = tmp_path / "first", tmp_path / "other", tmp_path / "absent"
    first.write_text("processor\t: 0\nflags\t: avx2\ncpu MHz\t: 1\n\nprocessor\t: 1\nflags\t: avx2\n")
    other.write_text("processor\t: 0\nflags\t: avx2 avx512f\n")
    assert len({processor_name(path) for path in (first, other, absent)}) == 3
    name = processor_name(first)
    first.write_text("processor\t: 0\nflags\t: avx2\ncpu MHz\t: 2\n")
    assert processor_name(first) == name


@pytest.mark.parametrize("name", ["bundled", "stories"])  # the second has byte pieces
def test_the_tokenizer_is_the_one_that_transformers_would_choose(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue("stories") if name == "stories" else bundled_folder()
    mine, theirs = load_vocabulary(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = "The Colosseum, once upon\n a time. "
    assert type(mine.tokenizer) is type(theirs)
    assert mine.encode(text) == theirs(text)["input_ids"]
    assert mine.tokenizer.init_kwargs.keys() == theirs.init_kwargs.keys()


def test_buckets_waste_little_and_are_few() -> None:
    buckets = [bucket_length(n) for n in range(1, 4097)]
    assert all(n <= found for n, found in enumerate(buckets, 1)) and buckets == sorted(buckets)
    assert all((found - n) / n < 0.25 for n, found in enumerate(buckets, 1) if n > 128)
    assert sorted(set(buckets))[:7] == [16, 32, 64, 128, 160, 192, 224] and len(set(buckets)) == 24


class Letters(Vocabulary):
    """Each letter is a token."""

    def __init__(self) -> None:
        pass

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") for letter in text]

    def text(self, token: int) -> str:
        return chr(ord("a") + token)

    def token_id(self, text: str) -> int:
        return self.encode(text)[0]

    def unknown(self, text: str) -> list[str]:
        return []


def model_of(name: str) -> landed.Model:
    return landed.Model(CONFIGS[name], random_params(CONFIGS[name]), Letters(), name)


def assert_same(mine: object, theirs: object, where: str = "") -> None:
    """Equal but for the rounding of floats, all the way down."""
    assert type(mine) is type(theirs), where
    if isinstance(mine, dict):
        assert list(mine) == list(theirs), where
        for key, value in mine.items():
            assert_same(value, theirs[key], f"{where}.{key}")
    elif isinstance(mine, list):
        assert len(mine) == len(theirs), where
        for i, value in enumerate(mine):
            assert_same(value, theirs[i], f"{where}[{i}]")
    elif isinstance(mine, float) and "closure_error" not in where:
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=2e-5, err_msg=where)
    elif not isinstance(mine, float):
        assert mine == theirs, where


@pytest.mark.parametrize(
    ("name", "prompt", "position", "against", "number"),
    [
        ("biased", "gecab", 2, "e", 1),
        # A window, and rotary frequencies that depend on the prompt's own length.
        ("windowed", "bdfhjac", -3, None, None),
    ],
)
def test_no_output_shows_the_padding(
    name: str, prompt: str, position: int, against: str | None, number: int | None
) -> None:
    model = model_of(name)
    asked = {"target": "d", "against": against, "position": position, "sections": all_sections()[:number]}
    mine, theirs = (account_for(model, prompt, bucketed=bucketed, **asked) for bucketed in (True, False))
    found = run_document(mine, 100)
    assert found["tokens"] == list(prompt)
    assert found["position"] == position % len(prompt)
    assert_same(json.loads(json.dumps(found)), json.loads(json.dumps(run_document(theirs, 100))))
    xr.testing.assert_allclose(run_dataset(mine), run_dataset(theirs), rtol=1e-3, atol=2e-5)
    assert mine.provenance.at.tolist() == theirs.provenance.at.tolist()
    attended = [(row.attended, row.attended_text) for row in mine.attribution.top(8)]
    assert attended == [(row.attended, row.attended_text) for row in theirs.attribution.top(8)]


def test_prompts_of_one_bucket_compile_once() -> None:
    model = model_of("small")
    prompts = ["acegik", "b", "abcdefghijklmabc"]
    account_for(model, prompts[0], bucketed=True)
    with compilations() as compiled:
        for prompt in prompts[1:]:
            account_for(model, prompt, position=0, bucketed=True)
    assert compiled == []


def test_padded_tokens_are_the_same_prompts() -> None:
    tokens = random_tokens(CONFIGS["small"], lengths=(20, 17))
    padded = tokens.bucketed()
    assert padded.ids.shape == (2, 32) and padded.ids.dtype == tokens.ids.dtype
    assert padded.positions[:, -20:].tolist() == tokens.positions.tolist()
    cropped = without_padding(jax.device_get(padded), 12)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(cropped), jax.tree.leaves(tokens), strict=True))
    assert isinstance(cropped, Tokens) and dataclasses.is_dataclass(cropped)
