"""What a killed writer leaves of a file goes with the next, and what a living one is writing stays."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from landed_jax.files.atomic_file import remove_abandoned, write_file
from tests.fulldisk import ROOT

HALFWAY = """
import os, sys
from landed_jax.files.atomic_file import write_file
os.fsync = lambda handle: (print("written", flush=True), sys.stdin.readline())
write_file(sys.argv[1], b"first")
"""


def halfway(path: Path) -> subprocess.Popen[str]:
    """A process that has written its file and not yet named it; it goes on when a line comes in."""
    writer = subprocess.Popen(
        [sys.executable, "-c", HALFWAY, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None and writer.stdout.readline() == "written\n"
    return writer


def test_a_killed_writers_file_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    with halfway(tmp_path / "a") as killed, halfway(tmp_path / "b") as living:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert len([name for name in os.listdir(tmp_path) if name.endswith(".unfinished")]) == 2
        write_file(tmp_path / "c", b"second")
        assert len([name for name in os.listdir(tmp_path) if name.endswith(".unfinished")]) == 1
        living.communicate("\n" * 9)
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
    assert (tmp_path / "b").read_bytes() == b"first"


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    ours = ".landed-0123456789abcdef.unfinished"
    names = [".landed-notes.unfinished", "a.unfinished", f"x{ours}", ".landed-0123456789abcdef.nc"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ours).symlink_to(names[0])
    os.mkfifo(tmp_path / ours.replace("0", "1"))
    (tmp_path / ours.replace("0", "2")).mkdir()
    (tmp_path / ours.replace("0", "3")).touch()
    remove_abandoned(tmp_path)
    left = {*names, *(ours.replace("0", digit) for digit in "012")}
    assert set(os.listdir(tmp_path)) == left


def test_writers_of_one_folder_do_not_take_each_other_for_killed(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for round in range(100):
                write_file(tmp_path / name, f"{name} {round}".encode())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(str(i // 2),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: f"{name} 99" for name in "012"}
