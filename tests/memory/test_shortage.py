"""Too little memory is one sentence: foreseen where it can be, and caught where it cannot."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.loading import convert
from landed_jax.memory.estimates import least_bytes
from landed_jax.memory.shortage import is_out_of_memory
from landed_jax.nn.parameters import count_parameters
from tests.fulldisk import python

PROMPT = "The Colosseum is in the city of"


def test_the_errors_of_python_and_xla_are_known() -> None:
    with pytest.raises(MemoryError) as of_numpy:
        jax.device_get(bytearray(2**62))
    with pytest.raises(jax.errors.JaxRuntimeError) as of_xla:
        jnp.zeros((2**45,), "float32").block_until_ready()
    assert is_out_of_memory(of_numpy.value) and is_out_of_memory(of_xla.value)
    # TensorStore says so of a full disk.
    assert not is_out_of_memory(ValueError("RESOURCE_EXHAUSTED: No space left on device"))


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 4.00 TiB\nfor an array")])
def test_a_command_says_it_in_one_line(
    error: MemoryError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(landed.Model, "trace", fail)
    assert status_of(["run", PROMPT]) == 2
    said = capsys.readouterr().err
    assert said.startswith("landed: There is not enough memory") and said.count("\n") == 1


def test_weights_that_do_not_fit_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    convert("bundled", tmp_path / "native")
    memory = 4 * count_parameters(landed.load().config) - 1
    monkeypatch.setattr("landed_jax.memory.host.host_memory", lambda: memory)
    for model in ("bundled", str(tmp_path / "native")):
        assert status_of(["run", PROMPT, "--model", model]) == 2
        said = capsys.readouterr().err
        assert "take at least 4.5 MiB, and there are 4.5 MiB of memory" in said and said.count("\n") == 1
        assert ("--stream" in said) == (model == "bundled")
    assert status_of(["run", PROMPT, "--stream", "--json", str(tmp_path / "account.json")]) == 0


def test_prompts_that_cannot_fit_are_refused_before_they_are_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("landed_jax.memory.host.host_memory", lambda: 20 << 20)
    assert status_of(["run", " ".join([PROMPT] * 500)]) == 2
    assert "a prompt of 3501 tokens take at least" in capsys.readouterr().err


@pytest.mark.xla
def test_the_least_is_less_than_what_xla_takes() -> None:
    """So nothing is refused that would have worked."""
    model = landed.load()
    for length in (64, 512, 2048):
        tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)

        def run(params: dict, ids: jax.Array) -> tuple:
            record = landed.WRITES | landed.SOURCES
            return landed.forward(params, ids, model.config, record=record, at=[-1])

        compiled = jax.jit(run).lower(model.params, tokens).compile().memory_analysis()
        weights = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
        taken = compiled.argument_size_in_bytes + compiled.temp_size_in_bytes + compiled.output_size_in_bytes
        assert least_bytes(model.config, weights, length) <= taken


LIMITED = """
import resource, sys
import jax.numpy as jnp
from landed_jax.cli.commands import status_of
jnp.zeros(3).block_until_ready()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20), resource.RLIM_INFINITY))
with open(sys.argv[1]) as sys.stdin:
    print(status_of(["run", "--top", "0", "--json", "-"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits what Linux hands out")
def test_memory_that_runs_out_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_text(" ".join([PROMPT] * 8000))
    done = python(LIMITED, tmp_path / "prompt")
    assert done.stdout == "2\n", done.stderr
    assert "There is not enough memory" in done.stderr.splitlines()[-1]
