"""A file that is there whole or not at all, with the permissions that it had."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from landed_jax.errors import LandedError
from landed_jax.files import unfinished
from landed_jax.files.atomic_file import write_file
from tests.fulldisk import python


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    for permissions in (0o600, 0o640, 0o664, 0o444):
        path = tmp_path / oct(permissions)
        path.write_bytes(b"before")
        path.chmod(permissions)
        write_file(path, b"after")
        assert (path.read_bytes(), mode(path)) == (b"after", permissions)


@pytest.mark.quick
def test_a_new_file_has_what_the_umask_leaves(tmp_path: Path) -> None:
    for umask in (0o022, 0o077):
        before = os.umask(umask)
        try:
            write_file(tmp_path / oct(umask), b"new")
        finally:
            os.umask(before)
        assert mode(tmp_path / oct(umask)) == 0o666 & ~umask


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"before")
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", b"after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"after"


def test_into_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        write_file(tmp_path / "pipe", b"through")
        assert reader.stdout is not None and reader.stdout.read() == b"through"


def test_the_data_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (done.append(name), real(*a))[1])
    write_file(tmp_path / "a", b"whole")
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder


@pytest.mark.quick
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_halfway_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    (tmp_path / "there").write_bytes(b"before")

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    for name in ("there", "new"):
        with pytest.raises(LandedError if isinstance(error, OSError) else KeyboardInterrupt):
            write_file(tmp_path / name, b"after")
    assert os.listdir(tmp_path) == ["there"]
    assert (tmp_path / "there").read_bytes() == b"before"


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"before")
    code = "import sys; from landed_jax.files.atomic_file import write_file; write_file(sys.argv[1], bytes(100_000))"
    done = python(code, tmp_path / "there", limit=50_000)
    assert f"LandedError: {tmp_path / 'there'} cannot be written: File too large." in done.stderr
    assert os.listdir(tmp_path) == ["there"]
    assert (tmp_path / "there").read_bytes() == b"before"


def test_a_process_that_ends_at_once_takes_away_what_is_unfinished(tmp_path: Path) -> None:
    with unfinished.unfinished(tmp_path / "file"), unfinished.unfinished(tmp_path / "folder"):
        (tmp_path / "file").touch()
        (tmp_path / "folder" / "deep").mkdir(parents=True)
        unfinished.remove_unfinished()
        assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    unfinished.remove_unfinished()  # no longer unfinished: somebody else's
    assert os.listdir(tmp_path) == ["file"]
