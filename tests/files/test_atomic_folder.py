"""A new folder that is there whole or not at all, and of one writer only."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from landed_jax.errors import LandedError
from landed_jax.files.atomic_folder import is_unfinished, new_folder
from tests.fulldisk import ROOT


def fill(dst: Path, content: str) -> None:
    with new_folder(dst) as folder:
        (folder / "file").write_text(content)


def test_one_of_many_threads_writes_it(tmp_path: Path) -> None:
    for attempt in range(20):
        dst, start, said = tmp_path / str(attempt), threading.Barrier(4), []

        def write(name: str, dst: Path = dst, start: threading.Barrier = start, said: list = said) -> None:
            start.wait()
            try:
                fill(dst, name)
            except LandedError as error:
                said.append(str(error))
            else:
                said.append(name)

        threads = [threading.Thread(target=write, args=(str(i),)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [name for name in said if name.isdecimal()]
        assert winners == [(dst / "file").read_text()]
        assert all("already there" in name or "being written" in name for name in said if name not in winners)
    assert len(os.listdir(tmp_path)) == 20


HOLD = """
import os, sys
from pathlib import Path
from landed_jax.files.atomic_folder import new_folder
os.getpid = lambda: 1234  # as in two containers that share a disk
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("first")
    print("filled", flush=True)
    sys.stdin.readline()
"""


def hold(dst: Path) -> subprocess.Popen[str]:
    """A process that has filled the folder, and goes on when a line comes in."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(dst)]
    holder = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "filled\n"
    return holder


def test_another_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1234)
    with hold(tmp_path / "dst") as holder:
        for _ in range(3):
            with pytest.raises(LandedError, match="being written by another process"):
                fill(tmp_path / "dst", "second")
        holder.communicate("\n")
    assert holder.returncode == 0
    assert (tmp_path / "dst" / "file").read_text() == "first"
    with pytest.raises(LandedError, match="already there"):
        fill(tmp_path / "dst", "second")
    assert os.listdir(tmp_path) == ["dst"]


def test_what_a_killed_process_leaves_goes_with_the_next(tmp_path: Path) -> None:
    with hold(tmp_path / "dst") as holder:
        holder.send_signal(signal.SIGKILL)
    left = [name for name in os.listdir(tmp_path) if is_unfinished(tmp_path / name)]
    assert len(left) == 1 and not (tmp_path / "dst").exists()
    others = [".dst.unfinished-1f.unfinished-2e", ".other.unfinished-3d", ".dst.unfinished-notes"]
    for name in others:  # of folders with other names, and somebody's own
        (tmp_path / name).mkdir()
    fill(tmp_path / "dst", "second")
    assert sorted(os.listdir(tmp_path)) == sorted(["dst", *others])


def test_somebodys_own_file_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    (tmp_path / ".dst.lock").write_text("keep")
    with pytest.raises(LandedError, match="is in the way"):
        fill(tmp_path / "dst", "")
    assert (tmp_path / ".dst.lock").read_text() == "keep"


@pytest.mark.quick
@pytest.mark.parametrize("length", [199, 200, 255])
def test_names_of_any_length(tmp_path: Path, length: int) -> None:
    fill(tmp_path / ("x" * length), "there")
    assert os.listdir(tmp_path) == ["x" * length]


def test_folders_above_go_again_where_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(LandedError, match="No space left"), new_folder(tmp_path / "a" / "b" / "dst"):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(LandedError, match="cannot be written"):
        fill(tmp_path / "file" / "dst", "")
    fill(tmp_path / "a" / "b" / "dst", "there")
    assert (tmp_path / "a" / "b" / "dst" / "file").read_text() == "there"


def test_nobody_else_looks_into_an_unfinished_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "dst") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "other").mkdir()
    assert (tmp_path / "dst").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_everything_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []

    def fsync(handle: int, real: object = os.fsync) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))

    monkeypatch.setattr(os, "fsync", fsync)
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda *a: (synced.append(Path("named")), rename(*a))[1])
    with new_folder(tmp_path / "dst") as folder:
        (folder / "deep").mkdir()
        for name in ("one", "deep/two"):
            (folder / name).write_text(name)
    before = synced[: synced.index(Path("named"))]
    assert {folder / "one", folder / "deep" / "two", folder / "deep", folder} <= set(before)
    assert synced[-1] == tmp_path
