"""The memory that a process may use: the machine's, or what its control groups leave."""

from pathlib import Path

import psutil
import pytest

from landed_jax.memory.host import cgroup_limits, host_memory


def groups(tmp_path: Path, membership: str, files: dict[str, str]) -> list[int]:
    listed = tmp_path / "cgroup"
    listed.write_text(membership, encoding="utf-8")
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return sorted(cgroup_limits(tmp_path / "fs", listed))


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/job/step\n", {"job/memory.max": "4096\n", "job/step/memory.max": "max\n"}, [4096]),
        ("0::/job/step\n", {"job/memory.max": "4096\n", "job/step/memory.max": "1024\n"}, [1024, 4096]),
        ("0::/\n", {"memory.max": "8192\n"}, [8192]),  # a container with a namespace of its own
        ("0::/../host:1/path\n", {"memory.max": "8192\n", "host:1/memory.max": "16\n"}, [8192]),
        ("0::/a\x0cb:c\n", {"a\x0cb:c/memory.max": "32\n"}, [32]),
        ("a line of another kind\n1:\n0::/\n", {"memory.max": "64\n"}, [64]),
        (
            "5:cpuset,memory:/docker/1\n3:pids:/docker/1\n0::/\n",
            {"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/docker/1/memory.limit_in_bytes": "512\n"},
            [512, 9223372036854771712],
        ),
        ("0::/\n", {"memory.current": "1\n"}, []),
        ("", {}, []),
    ],
    ids=[
        "v2",
        "v2 nested",
        "own namespace",
        "outside the namespace",
        "odd name",
        "odd lines",
        "v1",
        "no limit",
        "no groups",
    ],
)
def test_limits_of_a_group_and_of_those_above_it(
    tmp_path: Path, membership: str, files: dict[str, str], limits: list[int]
) -> None:
    assert groups(tmp_path, membership, files) == limits


@pytest.mark.quick
def test_no_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cgroup_limits(tmp_path, tmp_path / "not there") == []
    assert 0 < host_memory() <= psutil.virtual_memory().total
    monkeypatch.setattr("landed_jax.memory.host.cgroup_limits", lambda: [2**20, 2**21])
    assert host_memory() == 2**20
