"""Commands that several processes run: the first prints and writes, and what fails on one ends all."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import landed_jax
from landed_jax import LandedError
from landed_jax.cli.hosts import named_hosts
from landed_jax.cli.lost_process import sentence
from tests.checkpoints import assert_same
from tests.distributed.together import finished, landed, started_command
from tests.studies.runs import files_of

PROMPT = "The Colosseum is in the city of"
# As `landed`, with a commit after every batch.
COMMITTING = (
    "-c",
    "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; "  # as `--hosts` does before JAX is imported
    "from landed_jax.studies import _store; _store.SECONDS = _store._SHARE = 0.0; "
    "from landed_jax.cli import main; main()",
)


def assert_near(found: Any, expected: Any) -> None:
    """Equal JSON, its numbers to rounding."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert_near(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for mine, theirs in zip(found, expected, strict=True):
            assert_near(mine, theirs)
    elif isinstance(expected, float):
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3)
    else:
        assert found == expected


def test_hosts_that_are_not_understood() -> None:
    whole = "coordinator=a:1,processes=2,process=0"
    for wrong in ("", "2", "coordinator=a:1", whole.replace("=0", "=2"), whole.replace(":1", ""),
                  whole.replace("=2", "=x"), f"{whole},more=1"):  # fmt: skip
        with pytest.raises(LandedError, match="write auto, or coordinator="):
            named_hosts(wrong)
    assert named_hosts("auto") == {}


def test_the_sentence_names_who_is_lost() -> None:
    assert "Processes 2, 13 are lost" in sentence(b"are unhealthy (stopped sending heartbeats):\n2\n13\nThe tasks")
    assert "Process 0 of this command is lost" in sentence(b"UNAVAILABLE: Failed to send RPC to coordination service.")


def test_auto_where_nothing_says_which_processes_there_are(tmp_path: Path) -> None:
    [done] = landed(1, "convert", "bundled", tmp_path / "new", "--hosts", "auto")
    assert done.status == 2 and done.stderr.startswith("landed: --hosts auto found no TPU slice, SLURM or Open MPI")
    assert done.stderr.count("\n") == 1 and os.listdir(tmp_path) == []


@pytest.mark.slow
def test_run(tmp_path: Path) -> None:
    """The prompt is on the first process's standard input."""
    asked = ("run", "-", "--top", 5, "--lens")
    [alone] = landed(1, *asked, "--json", "-", piped=PROMPT)
    both = ("--json", tmp_path / "run.json", "--out", tmp_path / "run.nc")
    first, other = landed(2, *asked, *both, "--mesh", "model=4", devices=2, piped=PROMPT)
    assert (first.status, other.status) == (0, 0), (first.stderr, other.stderr)
    assert_near(json.loads((tmp_path / "run.json").read_text()), json.loads(alone.stdout))
    assert "Rome" in first.stdout and "[Gloo]" not in first.stdout
    assert (other.stdout, other.stderr) == ("", "")
    assert isinstance(landed_jax.load_result(tmp_path / "run.nc"), xr.Dataset)


@pytest.mark.slow
def test_json_alone_on_standard_output() -> None:
    [alone] = landed(1, "run", PROMPT, "--json", "-")
    first, other = landed(2, "run", PROMPT, "--json", "-", "--mesh", "model=2")
    assert_near(json.loads(first.stdout), json.loads(alone.stdout))
    assert (other.status, other.stdout, other.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("more", [[], ["--hf"]], ids=["native", "hf"])
def test_convert(count: int, more: list[str], tmp_path: Path) -> None:
    dst = tmp_path / "deep" / "model"
    done = landed(count, "convert", "bundled", dst, *more)
    assert [each.status for each in done] == [0] * count, done
    assert done[0].stdout == f"Wrote {dst}\n" and not any(each.stdout for each in done[1:])
    assert os.listdir(tmp_path / "deep") == ["model"]
    assert_same(landed_jax.load(dst).params, landed_jax.load().params)
    for each in landed(count, "convert", "bundled", dst, *more):
        assert each.status == 2 and each.stderr.count("\n") == 1 and "already there" in each.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["convert", "./model", "new"],
        ["run", PROMPT, "--model", "./model", "--mesh", "model=2", "--json", "found.json"],
        ["study", "prompts.txt", "--model", "./model", "--out", "new"],
    ],
    ids=lambda asked: asked[0],
)
def test_what_is_missing_on_one_process_ends_both(asked: list[str], tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        (folder / "prompts.txt").write_text("To be\nor not\n")
    landed_jax.load().save(folders[0] / "model")
    started = time.monotonic()
    first, second = landed(2, *asked, folders=folders)
    assert (first.status, second.status) == (2, 2), (first, second)
    assert re.fullmatch(r"landed: There is no folder .*model.*\n", second.stderr), second.stderr
    assert first.stderr.startswith("landed: Process 1 of 2 failed: There is no folder"), first.stderr
    assert first.stderr.count("\n") == 1 and first.stdout == second.stdout == ""
    assert sorted(os.listdir(folders[0])) == ["model", "prompts.txt"]
    assert time.monotonic() - started < 120  # and does not hang


def without_command(folder: Path) -> dict[str, Any]:
    """The files of a store; of those that quote the command, what else they say."""
    found: dict[str, Any] = dict(files_of(folder))
    for name in ("study.json", "zarr.json"):
        said = json.loads((folder / name).read_text())
        said.pop("checksum", None)
        if name == "zarr.json":
            said["attributes"]["manifest"] = json.loads(said["attributes"]["manifest"])
        manifest = said["manifest"] if name == "study.json" else said["attributes"]["manifest"]
        assert manifest.pop("command").startswith("landed ") or name
        found[name] = said
    return found


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_study_and_others_finish_it(lost: int, tmp_path: Path) -> None:
    asked = ("study", "testbed:induction", "--count", 3000, "--keep", "scale,attribution,top")
    store = tmp_path / "store"
    with started_command(3, *asked, "--out", store, program=COMMITTING) as processes:
        while not committed(store) > 3:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.01)
        processes[lost].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        done = [finished(process) for process in processes]
    assert time.monotonic() - killed < 60  # JAX misses a process after 10 seconds
    for index, each in enumerate(done):
        if index != lost:
            assert each.status not in (0, None) and each.stdout == ""
            lines = [line for line in each.stderr.splitlines() if "seconds so far" not in line]
            assert lines == [
                f"landed: Process {lost} of this command is lost, so the others end too: give the command again."
            ]
    begun = committed(store)
    assert 3 < begun < 47
    [alone] = landed(1, *asked, "--out", tmp_path / "alone")
    finishing = landed(4, *asked, "--out", store)
    assert [each.status for each in finishing] == [0] * 4, finishing
    assert finishing[0].stdout == alone.stdout != "" and not any(each.stdout for each in finishing[1:])
    assert without_command(store) == without_command(tmp_path / "alone")


def committed(store: Path) -> int:
    """How many batches are."""
    path = store / "progress.json"
    return json.loads(path.read_text())["batches"] if path.exists() else 0
