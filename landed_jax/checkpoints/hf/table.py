"""The weight table: the checkpoint tensor of each leaf, and the axes of the leaf that the tensor merges.

Weights equal the checkpoint's bit for bit: a leaf is a tensor, or some rows of one, or some columns where the
checkpoint has inputs first, with the head axis split off.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from landed_jax.families import families
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.parameters import LEAVES, Leaf, Params, Path, axis_sizes, leaf_at, leaf_places

Index = tuple[slice, ...]
Axes = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One line of the table: a leaf, and the tensor that holds it.

    Attributes:
        name: the tensor's; empty where Llama has no such leaf, and each family that has it names it.
        leaf: the leaf's path.
        merged: the leaf's axes as the tensor merges them.
        before, after: the axes that the rows of other leaves of the same tensor merge, by leaf: those that stand
            before this leaf's rows, and after them.
        by_head: the leaves of the tensor take turns head by head (GPT-NeoX), and do not stand each in one piece.
        transposed: the tensor has its axes the other way round (GPT-2): its columns are the leaf's rows.
        interleaved: the leaves of the tensor take turns row by row (gpt-oss).

    A leaf of all experts is read expert by expert: the line is of one expert's part. With ``{expert}`` in its name each
    has a tensor of its own; otherwise the tensor holds all of them, along its first axis.
    """

    name: str
    leaf: str
    merged: tuple[Axes, ...]
    before: tuple[Axes, ...] = ()
    after: tuple[Axes, ...] = ()
    by_head: bool = False
    transposed: bool = False
    interleaved: bool = False

    @property
    def by_expert(self) -> bool:
        """Whether the line is of one expert's part of the leaf."""
        return "expert" in LEAVES[self.leaf].axes and not any("expert" in axes for axes in self.merged)

    @property
    def of_all_experts(self) -> bool:
        """Whether the tensor holds all experts' parts."""
        return self.by_expert and "{expert}" not in self.name

    def shape(self, config: ModelConfig) -> tuple[int, ...]:
        """The tensor's shape in the checkpoint."""
        others = sum(_size(config, axes) for axes in (*self.before, *self.after))
        rows, *rest = self.merged_shape(config)
        own = (rows + others, *rest)[:: -1 if self.transposed else 1]
        return (config.n_experts, *own) if self.of_all_experts else own

    def merged_shape(self, config: ModelConfig) -> tuple[int, ...]:
        """The leaf's shape with its axes merged as the tensor merges them."""
        return tuple(_size(config, axes) for axes in self.merged)

    def as_stored(self, merged: np.ndarray) -> np.ndarray:
        """A piece of the merged leaf with the tensor's order of axes: a view."""
        return merged.T if self.transposed else merged

    def pieces(self, config: ModelConfig, index: Index) -> Iterator[tuple[Index, Index]]:
        """What makes up a slice of the leaf: slices of the tensor, each with its place in the slice, merged."""
        rows, *rest = self.index(config, index)
        for stored, at in self._rows(config, rows.start, rows.stop):
            place = (at, *(slice(0, part.stop - part.start) for part in rest))
            yield (stored, *rest)[:: -1 if self.transposed else 1], place

    def _rows(self, config: ModelConfig, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Where these rows of the merged leaf stand in the tensor, and where among themselves."""
        if self.interleaved:
            turns, mine = 1 + len(self.before) + len(self.after), len(self.before)
            yield slice(start * turns + mine, (stop - 1) * turns + mine + 1, turns), slice(0, stop - start)
            return
        times = axis_sizes(config)[self.merged[0][0]] if self.by_head else 1
        mine, first, others = (
            sum(_size(config, axes) for axes in every) // times
            for every in (self.merged[:1], self.before, (*self.before, *self.after))
        )
        for turn in range(start // mine, -(-stop // mine)):
            low, high = max(start, turn * mine), min(stop, (turn + 1) * mine)
            at = first + turn * others
            yield slice(at + low, at + high), slice(low - start, high - start)

    def index(self, config: ModelConfig, index: Index) -> Index:
        """A slice of the leaf (of one expert's part of it) as one of its merged form. Of merged axes only the first may
        be sliced.
        """
        sizes = axis_sizes(config)
        cuts = iter(zip(LEAVES[self.leaf].axes[1 if self.by_expert else 0 :], index, strict=True))
        merged = []
        for axes in self.merged:
            (first, *rest) = (next(cuts) for _ in axes)
            inner = math.prod(sizes[axis] for axis, _ in rest)
            if any(cut.indices(sizes[axis]) != (0, sizes[axis], 1) for axis, cut in rest):
                # This would not be one slice of the tensor. The sharding table has no such cut.
                raise ValueError(f"{self.name} cannot be cut along {[axis for axis, _ in rest]}")
            start, stop, _ = first[1].indices(sizes[first[0]])
            merged.append(slice(start * inner, stop * inner))
        return tuple(merged)


def _size(config: ModelConfig, axes: Axes) -> int:
    sizes = axis_sizes(config)
    return math.prod(sizes[axis] for axis in axes)


_D, _F, _V = ("d_model",), ("d_ff",), ("vocab",)
_H, _KV = ("head", "head_dim"), ("kv_head", "head_dim")
_LAYER = "model.layers.{layer}."
_EXPERT = _LAYER + "mlp.experts.{expert}."

TABLE = (
    Entry("model.embed_tokens.weight", "embed/W_E", (_V, _D)),
    Entry("", "embed/W_pos", (("max_position",), _D)),
    Entry("model.norm.weight", "final_norm/gamma", (_D,)),
    Entry("", "final_norm/beta", (_D,)),
    Entry("lm_head.weight", "unembed/W_U", (_V, _D)),
    Entry(_LAYER + "input_layernorm.weight", "attn_norm/gamma", (_D,)),
    Entry("", "attn_norm/beta", (_D,)),
    Entry(_LAYER + "self_attn.q_proj.weight", "attn/W_Q", (_H, _D)),
    Entry(_LAYER + "self_attn.k_proj.weight", "attn/W_K", (_KV, _D)),
    Entry(_LAYER + "self_attn.v_proj.weight", "attn/W_V", (_KV, _D)),
    Entry(_LAYER + "self_attn.o_proj.weight", "attn/W_O", (_D, _H)),
    Entry(_LAYER + "self_attn.q_proj.bias", "attn/b_Q", (_H,)),
    Entry(_LAYER + "self_attn.k_proj.bias", "attn/b_K", (_KV,)),
    Entry(_LAYER + "self_attn.v_proj.bias", "attn/b_V", (_KV,)),
    Entry(_LAYER + "self_attn.o_proj.bias", "attn/b_O", (_D,)),
    Entry(_LAYER + "self_attn.q_norm.weight", "attn/q_gamma", (("head_dim",),)),
    Entry(_LAYER + "self_attn.k_norm.weight", "attn/k_gamma", (("head_dim",),)),
    Entry("", "attn/q_width_gamma", (_H,)),
    Entry("", "attn/k_width_gamma", (_KV,)),
    Entry("", "attn_out_norm/gamma", (_D,)),
    Entry(_LAYER + "post_attention_layernorm.weight", "mlp_norm/gamma", (_D,)),
    Entry("", "mlp_norm/beta", (_D,)),
    Entry(_LAYER + "mlp.gate_proj.weight", "mlp/W_gate", (_F, _D)),
    Entry(_LAYER + "mlp.up_proj.weight", "mlp/W_up", (_F, _D)),
    Entry("", "mlp/W_in", (_F, _D)),
    Entry(_LAYER + "mlp.down_proj.weight", "mlp/W_down", (_D, _F)),
    Entry(_LAYER + "mlp.gate_proj.bias", "mlp/b_gate", (_F,)),
    Entry(_LAYER + "mlp.up_proj.bias", "mlp/b_up", (_F,)),
    Entry("", "mlp/b_in", (_F,)),
    Entry(_LAYER + "mlp.down_proj.bias", "mlp/b_down", (_D,)),
    Entry("", "attn/sinks", (("head",),)),
    Entry(_LAYER + "mlp.gate.weight", "experts/W_router", (("expert",), _D)),
    Entry("", "experts/b_router", (("expert",),)),
    Entry(_EXPERT + "gate_proj.weight", "experts/W_gate", (_F, _D)),
    Entry(_EXPERT + "up_proj.weight", "experts/W_up", (_F, _D)),
    Entry("", "experts/W_in", (_F, _D)),
    Entry(_EXPERT + "down_proj.weight", "experts/W_down", (_D, _F)),
    Entry("", "experts/b_gate", (_F,)),
    Entry("", "experts/b_up", (_F,)),
    Entry("", "experts/b_in", (_F,)),
    Entry("", "experts/b_down", (_D,)),
    Entry("", "mlp_out_norm/gamma", (_D,)),
)


@dataclass(frozen=True)
class Place:
    """One leaf of one model: its full path in the tree, and the name of the tensor that holds it.

    Of a leaf of all experts there is a place for each.
    """

    name: str
    path: Path
    leaf: Leaf
    entry: Entry
    expert: int | None = None


@functools.cache
def entries(family: str) -> dict[str, Entry]:
    """Each leaf's line of the table. Leaves to which the family gives one name are the rows of one tensor."""
    known = families().get(family)
    own = known.names if known else {}
    lines = {entry.leaf: dataclasses.replace(entry, name=own.get(entry.leaf, entry.name)) for entry in TABLE}
    if known is not None:
        flags = ("by_head", "transposed", "interleaved")
        lines = {
            leaf: dataclasses.replace(entry, **{flag: leaf in getattr(known, flag) for flag in flags})
            for leaf, entry in lines.items()
        }

    def rows(leaves: list[str]) -> tuple[Axes, ...]:
        return tuple(lines[leaf].merged[0] for leaf in leaves)

    def line(entry: Entry) -> Entry:
        together = [leaf for leaf in own if own[leaf] == entry.name] if entry.leaf in own else [entry.leaf]
        at = together.index(entry.leaf)
        return dataclasses.replace(entry, before=rows(together[:at]), after=rows(together[at + 1 :]))

    return {leaf: line(entry) for leaf, entry in lines.items()}


def tensor_places(config: ModelConfig) -> Iterator[Place]:
    """Every leaf of this model, and its tensor in a checkpoint.

    >>> config = ModelConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=4, d_ff=12)
    >>> place = list(tensor_places(config))[-1]
    >>> place.name, place.path, place.entry.shape(config)
    ('model.layers.1.mlp.down_proj.weight', ('layers', '1', 'mlp', 'W_down'), (8, 12))
    """
    by_leaf = entries(config.family)
    for path, leaf in leaf_places(config):
        entry = by_leaf[leaf.path]
        layer = path[1] if path[0] == "layers" else None
        for expert in range(config.n_experts) if entry.by_expert else (None,):
            yield Place(entry.name.format(layer=layer, expert=expert), path, leaf, entry, expert)


def to_hf(params: Params, config: ModelConfig) -> dict[str, np.ndarray]:
    """The inverse: the checkpoint's tensors, by name and in its shapes, from parameters in either layout."""
    return {name: tensor() for name, tensor in lazy_tensors(params, config)}


def lazy_tensors(params: Params, config: ModelConfig) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Each tensor's name, and what makes it. Called in this order, leaves that are on disk are each read once."""
    tensors: dict[str, list[Place]] = {}
    for place in tensor_places(config):
        tensors.setdefault(place.name, []).append(place)
    held: dict[Path, np.ndarray] = {}

    def tensor(places: list[Place]) -> np.ndarray:
        wanted = dict.fromkeys(place.path for place in places)
        for path in set(held) - set(wanted):
            del held[path]
        for path in wanted:
            if path not in held:
                held[path] = np.asarray(leaf_at(params, path))
        return _assembled(places, held, config)

    for name, places in tensors.items():
        yield name, functools.partial(tensor, places)


def _assembled(places: list[Place], leaves: dict[Path, np.ndarray], config: ModelConfig) -> np.ndarray:
    """One tensor, of the leaves that it holds."""
    whole: np.ndarray | None = None
    for place in places:
        entry, shape = place.entry, place.entry.shape(config)
        value = leaves[place.path] if place.expert is None else leaves[place.path][place.expert]
        merged = value.reshape(entry.merged_shape(config))
        if value.size == math.prod(shape):
            return np.ascontiguousarray(entry.as_stored(merged))
        whole = np.empty(shape, value.dtype) if whole is None else whole
        into = whole[place.expert] if entry.of_all_experts else whole
        for piece, at in entry.pieces(config, (slice(None),) * value.ndim):
            into[piece] = entry.as_stored(merged[at])
    assert whole is not None
    return whole


def embedding_name(config: ModelConfig) -> str:
    """The name of the embedding's table in a checkpoint of this family."""
    return entries(config.family)["embed/W_E"].name


def unembedding_name(config: ModelConfig) -> str:
    """The name of the unembedding's table in a checkpoint of this family."""
    return entries(config.family)["unembed/W_U"].name
