"""A process that keeps what it frees seldom meets fresh pages in later calls of a program."""

import os
import platform
import subprocess
import sys

import pytest

from landed_jax.memory import freed

FAULTS = """
import os, resource
import sys
import jax, jax.numpy as jnp
from landed_jax.memory import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
program = jax.jit(lambda x: x[:, None] * jnp.arange(4096.0)[None])  # 64 MiB
x = jnp.arange(4096.0)
faults = []
for _ in range(30):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    program(x).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(kept, sum(faults[10:]) / 20 * os.sysconf("SC_PAGE_SIZE") / 2**26)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's settings are glibc's")
def test_later_calls_seldom_clear_pages() -> None:
    unset = ("MALLOC_", "GLIBC_TUNABLES")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}

    def cleared(how: str) -> tuple[str, float]:
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        kept, share = done.stdout.split()
        return kept, float(share)

    (_, usual), (kept, share) = cleared("leave"), cleared("keep")
    assert kept == str(platform.libc_ver()[0] == "glibc")
    # The first calls make room, and small pieces between large ones may ask for more later on.
    assert kept == "False" or share < 0.5 * usual


@pytest.mark.parametrize(("platform", "library"), [("darwin", None), ("linux", object())], ids=["no Linux", "no glibc"])
def test_other_systems_say_so(monkeypatch: pytest.MonkeyPatch, platform: str, library: object) -> None:
    monkeypatch.setattr(freed.sys, "platform", platform)
    monkeypatch.setattr(freed.ctypes, "CDLL", lambda _: library)
    assert not freed.keep_freed_memory()


def test_a_refused_setting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def mallopt(name: int, _: int) -> int:
            return int(name != freed.M_ARENA_MAX)

    monkeypatch.setattr(freed.sys, "platform", "linux")
    monkeypatch.setattr(freed.ctypes, "CDLL", lambda _: Library)
    assert not freed.keep_freed_memory()
