"""Programs compiled for slices of TPUs: what chips send each other, and the memory of a chip."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import landed_jax as landed
from landed_jax import ModelConfig, Tokens
from landed_jax.interventions._chunks import Chunk
from landed_jax.interventions._stages import Span, after_layer, clean_pass
from landed_jax.nn.parameters import count_parameters
from landed_jax.planning._collectives import Collective
from landed_jax.planning._compiled import Compiled, arguments, compile_for, compiled_call, tpu_mesh
from landed_jax.planning._task import Task, What
from landed_jax.studies._program import measure
from landed_jax.studies.keeps import keep_named
from landed_jax.tokens import as_tokens

pytestmark = pytest.mark.tpu

# The shape of Llama 3.1 8B; its layers are one loop, so that their number costs the compiler nothing.
LLAMA_8B = ModelConfig(vocab_size=128256, d_model=4096, n_layers=32, n_heads=32, n_kv_heads=8, head_dim=128, d_ff=14336)
EXPERTS = ModelConfig(
    vocab_size=32000,
    d_model=1024,
    n_layers=4,
    n_heads=16,
    n_kv_heads=8,
    head_dim=64,
    d_ff=2048,
    family="mixtral",
    n_experts=8,
    experts_per_token=2,
)
LENGTH = 512
SMALL = 1 << 20  # bytes: far below a row of heads, neurons or tokens at all positions
SLICES = {"v5e:2x4": (1, 8), "v6e:2x4": (2, 4), "v5p:2x2x2": (1, 8)}


def mesh_of(name: str) -> Mesh:
    data, model = SLICES[name]
    return tpu_mesh(name, {"data": data, "model": model})


def compiled(what: What, name: str = "v5e:2x4", config: ModelConfig = LLAMA_8B, passes: Any = 1) -> Compiled:
    mesh = mesh_of(name)
    return compiled_call(config, Task(what, LENGTH, mesh.shape["data"]), mesh, passes)


def stream(config: ModelConfig = LLAMA_8B) -> int:
    """Bytes of one prompt's residual stream in float32: what forward adds up over the chips after each block."""
    return 4 * LENGTH * config.d_model


def check_collectives(found: tuple[Collective, ...], forward_passes: int) -> None:
    in_layers = [one for one in found if one.in_loop and not one.in_branch and one.bytes > 4 * LENGTH]
    assert {one.kind for one in in_layers} == {"all-reduce"}
    assert all(one.of_forward and one.bytes <= stream() + 8 * LENGTH for one in in_layers)
    assert len(in_layers) == 2 * forward_passes
    # A condition on numbers of all chips, in the layers' loop, sends one number.
    others = [one for one in found if one.in_loop and not one.in_branch and one not in in_layers]
    assert all(one.kind == "all-reduce" and one.bytes <= 8 for one in others)
    outside = [one for one in found if not one.in_loop and not one.in_branch]
    assert {one.kind for one in outside} <= {"all-reduce", "all-gather"}
    assert len(outside) <= 12
    # The embedding's rows and the targets' are gathered where they lie; all else is small.
    assert all(one.bytes <= stream() for one in outside)
    assert sum(one.bytes > SMALL for one in outside) <= 2


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("what", ["forward", "effects"])
def test_chips_send_what_the_forward_pass_sends(what: What, name: str) -> None:
    found = compiled(what, name)
    check_collectives(found.collectives, 1)
    weights = 2 * count_parameters(LLAMA_8B) / SLICES[name][1]
    assert weights < found.arguments < 1.02 * weights


@pytest.mark.parametrize(("what", "passes"), [("last", 1), ("all", 1), ("top", 1), ("top", 2)])
def test_other_attributions_too(what: What, passes: int) -> None:
    check_collectives(compiled(what, passes=passes).collectives, passes)


def test_two_passes_hold_one_layer() -> None:
    """The factors of 31 layers less: z and a of each position in float32, an eighth of them on each chip."""
    one, two = compiled("top", passes=1), compiled("top", passes=2)
    factors = 4 * LENGTH * (LLAMA_8B.n_heads * LLAMA_8B.head_dim + LLAMA_8B.d_ff) / 8
    assert one.temporaries - two.temporaries > 0.8 * 31 * factors


def test_a_sweeps_stages_send_what_layers_send() -> None:
    """Of 32 runs, one a head: two sums of each run's stream a layer, and nothing of heads or neurons."""
    mesh, heads = mesh_of("v5e:2x4"), LLAMA_8B.n_heads
    stack = landed.interventions.every_head(LLAMA_8B)
    own = tuple(range(heads))
    batch = Chunk(own, stack.members[:heads], 0, 0, Span(0, LENGTH), heads).batch()

    def run(params: Any, ids: jax.Array, index: jax.Array, leaves: tuple[Any, ...]) -> jax.Array:
        tokens, at = as_tokens(ids), jnp.array([LENGTH - 1])
        trace, shared = clean_pass(params, tokens, (), config=LLAMA_8B, dtype=jnp.dtype("float32"))
        how: Any = {"config": LLAMA_8B, "kind": LLAMA_8B.kinds[0], "span": Span(0, LENGTH), "last": False}
        how["runs"] = heads
        stream = trace[landed.HookPoint.ATTN_RESIDUAL]
        changed: Any = {"tree": batch.tree, "axes": batch.axes}
        x, _ = after_layer(params["layers"], stream, index, shared, leaves, at, together=True, **changed, **how)
        nothing: Any = {"tree": jax.tree.structure(()), "axes": ()}
        return after_layer(params["layers"], x, index + 1, shared, (), at, together=False, **nothing, **how)[0]

    params, ids = arguments(LLAMA_8B, Task("forward", LENGTH, 1), mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    leaves = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), batch.leaves)
    index = jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere)
    found = compile_for(run, params, ids, index, leaves).collectives
    assert {one.kind for one in found} == {"all-reduce"}
    of_runs = [one for one in found if one.bytes > stream()]
    assert len(of_runs) <= 4
    assert sum(one.bytes for one in of_runs) <= 4 * heads * stream()


def test_a_studys_step_adds_a_few_small_sums() -> None:
    mesh, batch = tpu_mesh("v5e:2x4", {"data": 2, "model": 4}), 8
    kept = tuple(map(keep_named, ("attribution", "effects", "scale", "top")))

    def run(params: Any, ids: jax.Array) -> Any:
        mask, answers = jnp.ones(ids.shape, bool), jnp.zeros((batch, 0), jnp.int32)
        how: Any = {"config": LLAMA_8B, "keeps": kept, "position": -1, "dtype": jnp.dtype("float32")}
        found = measure(params, Tokens(ids, mask), answers, answers, ~mask, None, **how)[0]
        return {name: measured.values for name, measured in found.items()}

    found = compile_for(run, *arguments(LLAMA_8B, Task("forward", LENGTH, batch), mesh)).collectives
    streams = stream() * batch // 2
    in_layers = [one for one in found if one.in_loop and not one.in_branch]
    assert all(one.kind == "all-reduce" for one in in_layers)
    assert sum(one.of_forward and one.bytes == streams for one in in_layers) == 2
    # Of whole layers' effects: the sums of heads' and of neurons' writes at the asked position.
    asked = 2 * 4 * (batch // 2) * LLAMA_8B.d_model
    assert all(one.bytes == streams or one.bytes <= asked for one in in_layers)
    outside = [one for one in found if not one.in_loop and not one.in_branch]
    assert len(outside) <= 24
    assert all(one.bytes <= streams for one in outside)


def test_experts_stay_where_they_are() -> None:
    """Chips send each other neurons of the chosen experts at most, and no weights, which are several times that."""
    found = compiled("effects", config=EXPERTS).collectives
    chosen = 4 * LENGTH * EXPERTS.experts_per_token * EXPERTS.d_ff
    assert all(one.bytes <= chosen for one in found)
    assert chosen < 2 * EXPERTS.n_experts * EXPERTS.d_model * EXPERTS.d_ff / 2
