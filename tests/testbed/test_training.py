import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.errors import LandedError
from landed_jax.testbed.language import Rows
from landed_jax.testbed.training import ARCHITECTURE, Progress, Recipe, loss, start, train, update
from tests.fulldisk import python
from tests.needs import NO_TORCH
from tests.reference.numpy_model import numpy_forward
from tests.testbed.tiny import TINY


def test_the_loss_is_the_mean_over_real_tokens(x64: None) -> None:
    params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, float)), start(TINY))
    ids = Rows(0).batch(0, 3)
    logits = numpy_forward(params, np.maximum(ids[:, :-1], 0), np.ones_like(ids[:, :-1], bool), TINY.config)["logits"]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = ids[:, 1:]
    each = [-log_p[row, place, wanted[row, place]] for row, place in np.argwhere(wanted >= 0)]
    assert (wanted < 0).any()
    found = jax.jit(loss, static_argnums=2)(params, jnp.asarray(ids), TINY.config)
    np.testing.assert_allclose(found, np.mean(each), rtol=1e-12)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.testbed.tiny import TINY
from landed_jax.testbed.training import train

def watch(progress):
    if progress.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

train(Path(sys.argv[1]), TINY, watch=watch, save_every=2, score_every=None)
"""


@pytest.mark.slow
def test_a_killed_training_ends_the_same(tmp_path: Path, usual_promotion: None) -> None:
    def run(dst: Path, kill_at: int) -> int:
        return subprocess.run([sys.executable, "-c", KILLED, str(dst), str(kill_at)], check=False).returncode

    first, second = np.random.default_rng().choice(np.arange(1, TINY.steps), 2, replace=False)  # any step will do
    train(tmp_path / "whole", TINY, save_every=2, score_every=None)
    assert run(tmp_path / "killed", min(first, second)) == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    assert run(tmp_path / "killed", max(first, second)) == -signal.SIGKILL
    assert run(tmp_path / "killed", 0) == 0
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed, f"killed at {first} and {second}"
    assert not list(tmp_path.glob("*.training"))


@pytest.mark.slow
def test_what_comes_out_is_a_model_for_transformers_too(tmp_path: Path, usual_promotion: None) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    seen = []
    train(tmp_path / "new" / "model", TINY, watch=seen.append, score_every=4)
    assert [progress.step for progress in seen] == list(range(1, TINY.steps + 1))
    assert [progress.step for progress in seen if progress.scores] == [4, 8, 9]
    model = landed.load(tmp_path / "new" / "model")
    reference = AutoModelForCausalLM.from_pretrained(model.folder).double()
    prompt = "Mary gave a book to John and"
    ids = AutoTokenizer.from_pretrained(model.folder)(prompt)["input_ids"]
    assert ids == model.encode(prompt).ids[0].tolist()
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(model.trace(prompt).logits[0], expected, atol=2e-5)
    with pytest.raises(LandedError, match="already there"):
        train(tmp_path / "new" / "model", TINY)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that stopped behind its fourth step: the folder that it would have written."""
    dst = tmp_path_factory.mktemp("begun") / "model"

    def stop(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with jax.numpy_dtype_promotion("standard"), pytest.raises(KeyboardInterrupt):
        train(dst, TINY, watch=stop, save_every=2, score_every=None)
    return dst


def a_copy(begun: Path, tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(begun.with_name("model.training"), tmp_path / "model.training")
    return tmp_path / "model", tmp_path / "model.training"


def test_a_changed_bit_in_the_state_is_seen(begun: Path, tmp_path: Path, usual_promotion: None) -> None:
    dst, kept = a_copy(begun, tmp_path)
    largest = max((f for f in (kept / "steps" / "4").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(LandedError, match=r"Step 4 in .* is damaged"):
        train(dst, TINY, score_every=None)
    shutil.rmtree(kept / "steps" / "4")  # as the message says
    train(dst, TINY, score_every=None)
    assert landed.load(dst).config == TINY.config


def test_an_emptied_step_is_damage_too(begun: Path, tmp_path: Path, usual_promotion: None) -> None:
    dst, kept = a_copy(begun, tmp_path)
    for part in (kept / "steps" / "4").iterdir():
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(LandedError) as said:
        train(dst, TINY, score_every=None)
    assert "damaged" in str(said.value) and len(str(said.value).splitlines()) == 1


def test_a_state_that_says_nothing_of_itself_is_not_taken_over(begun: Path, tmp_path: Path) -> None:
    dst, kept = a_copy(begun, tmp_path)
    (kept / "recipe.json").unlink()
    with pytest.raises(LandedError, match="does not say which training"):
        train(dst, TINY)


def test_kept_steps_are_the_models_of_the_training(tmp_path: Path, usual_promotion: None) -> None:
    dst = tmp_path / "model"

    def stop(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dst, TINY, watch=stop, save_every=2, score_every=None, keep_steps=[5, 3, 0])
    with pytest.raises(LandedError, match="is past step 1 and did not keep it"):
        train(dst, TINY, score_every=None, keep_steps=[0, 1])
    with pytest.raises(LandedError, match="no step 10 to keep"):
        train(dst, TINY, keep_steps=[10])
    train(dst, TINY, score_every=None, keep_steps=[0, 3, 9])
    assert [step.name for step in sorted((dst / "steps").iterdir())] == ["000000", "000003", "000009"]
    assert (dst / "steps/000009/model.safetensors").read_bytes() == (dst / "model.safetensors").read_bytes()
    params = start(TINY)
    state = {"params": params, "optimizer": TINY.optimizer().init(params)}
    for step in range(4):
        if step in (0, 3):
            model = landed.load(dst / "steps" / f"{step:06}")
            assert model.encode("Mary gave a book to John and").ids.shape == (1, 8)
            jax.tree.map(np.testing.assert_array_equal, model.params, state["params"])
        state, _ = update(state, Rows(TINY.seed).batch(step, TINY.batch), TINY)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch": -1}, "batch is -1"),
        ({"warmup": 1.5}, "warmup is 1.5"),
        ({"seed": 2**32}, "seed is not below"),
        ({"peak": float("nan")}, "peak nan"),
        ({"config": dataclasses.replace(ARCHITECTURE, vocab_size=500)}, "vocab_size is 500"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(LandedError, match=message):
        Recipe(**settings)


def test_another_recipe_does_not_go_on(tmp_path: Path, usual_promotion: None) -> None:
    class Enough(Exception):
        pass

    def stop(progress: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        train(tmp_path / "model", TINY, watch=stop, score_every=None)
    with pytest.raises(LandedError, match=r"begun otherwise.*seed 5, now 6"):
        train(tmp_path / "model", dataclasses.replace(TINY, seed=6))


FULL = """
import sys
from pathlib import Path
from landed_jax.errors import LandedError
from landed_jax.testbed.training import train
from tests.testbed.tiny import TINY
try:
    train(Path(sys.argv[1]), TINY, score_every=None)
except LandedError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 3_000])  # not even the recipe; no state
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    done = python(FULL, tmp_path / "model", limit=limit)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot be written" in done.stdout and done.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_costs_no_state(begun: Path, tmp_path: Path, usual_promotion: None) -> None:
    dst, kept = a_copy(begun, tmp_path)
    done = python(FULL, dst, limit=3_000)
    assert "The state of the training cannot be written" in done.stdout and done.stderr == ""
    assert sorted(step.name for step in (kept / "steps").iterdir()) == ["2", "4"]
    train(dst, TINY, score_every=None)  # and it goes on from there
    assert landed.load(dst).config == TINY.config


def test_two_trainings_of_one_model_do_not_mix(tmp_path: Path, usual_promotion: None) -> None:
    def second(progress: object) -> None:
        with pytest.raises(LandedError, match="being written by another"):
            train(tmp_path / "model", TINY, score_every=None)

    train(tmp_path / "model", TINY, watch=second, score_every=None)
    assert landed.load(tmp_path / "model").config == TINY.config
