"""The graph of a model: what writes to the stream, what reads it, and which write each read hears."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

from landed_jax.errors import LandedError, shown
from landed_jax.nn.config import ModelConfig
from landed_jax.nn.stream_order import StreamOrder

INPUT, LOGITS = "input", "logits"
PARTS = ("q", "k", "v")


@dataclass(frozen=True)
class Graph:
    """Nodes and edges of a model, in a fixed order.

    A *node* writes to the stream: the token embedding with learned positions (``input``), a head (``a3.h5``) or an MLP
    with its output bias (``m3``). A *read* hears it: a head's query, key or value (``a3.h5<q>``; heads that share a key
    head count apart), an MLP, or the logits. An *edge* goes from a node to a read that comes after it. Attention's
    output bias is no node: it stays as it runs.

    Attributes:
        n_layers, n_heads, d_model: of the model.
        parallel: whether attention and MLP of a layer read the same stream.

    References:
        Syed et al., Attribution Patching Outperforms Automated Circuit Discovery, 2023 (nodes and edges); Mueller et
        al., MIB: A Mechanistic Interpretability Benchmark, 2025 (their names).

    >>> gpt2_small = Graph(n_layers=12, n_heads=12, d_model=768)
    >>> len(gpt2_small.senders) + 1, len(gpt2_small)  # the logits are one more node
    (158, 32491)
    >>> Graph(n_layers=1, n_heads=1, d_model=4).edges
    ('input->a0.h0<q>', 'input->a0.h0<k>', 'input->a0.h0<v>', 'input->m0', 'a0.h0->m0', 'input->logits', \
'a0.h0->logits', 'm0->logits')
    """

    n_layers: int
    n_heads: int
    d_model: int
    parallel: bool = False

    @classmethod
    def of(cls, config: ModelConfig) -> "Graph":
        """The graph of a model."""
        return cls(config.n_layers, config.n_heads, config.d_model, config.parallel_blocks)

    @functools.cached_property
    def senders(self) -> tuple[str, ...]:
        """The names of the nodes that write, in the order of the stream."""
        layers = range(self.n_layers)
        each = ((*(f"a{layer}.h{head}" for head in range(self.n_heads)), f"m{layer}") for layer in layers)
        return (INPUT, *(name for names in each for name in names))

    @functools.cached_property
    def reads(self) -> tuple[str, ...]:
        """The names of the reads: of each layer its heads' queries, keys and values, then its MLP; the logits."""
        heads, layers = range(self.n_heads), range(self.n_layers)
        each = ((*(f"a{layer}.h{head}<{part}>" for part in PARTS for head in heads), f"m{layer}") for layer in layers)
        return (*(name for names in each for name in names), LOGITS)

    @functools.cached_property
    def exists(self) -> Bool[np.ndarray, "read sender"]:
        """Whether there is an edge: whether a read hears a node's write."""
        attn, mlp = StreamOrder(self.n_layers, self.parallel).heard()
        heads = np.repeat(attn[:, :, None], self.n_heads, axis=2)
        of_layers = np.concatenate([heads, mlp[:, :, None]], axis=2).reshape(len(attn), -1)
        of_sites = np.pad(of_layers, ((0, 0), (1, 0)), constant_values=True)
        reads_of_site = [*(3 * self.n_heads, 1) * self.n_layers, 1]
        return _fixed(np.repeat(of_sites, reads_of_site, axis=0))

    @functools.cached_property
    def places(self) -> Int[np.ndarray, "edge 2"]:
        """Each edge's read and node, by their numbers: one read after another."""
        return _fixed(np.argwhere(self.exists))

    @functools.cached_property
    def edges(self) -> tuple[str, ...]:
        """The names of the edges, in the order of `places`."""
        senders, reads = self.senders, self.reads
        return tuple(f"{senders[sender]}->{reads[read]}" for read, sender in self.places.tolist())

    def __len__(self) -> int:
        return len(self.places)

    def matrix(self, values: Shaped[Array | np.ndarray, "*lead edge"]) -> Shaped[Array, "*lead read sender"]:
        """Numbers of edges as a matrix, 0 where there is no edge."""
        values, (reads, senders) = jnp.asarray(values), self.places.T
        shape = (*values.shape[:-1], len(self.reads), len(self.senders))
        return jnp.zeros(shape, values.dtype).at[..., reads, senders].set(values)

    def vector(self, matrix: Shaped[Array, "*lead read sender"]) -> Shaped[Array, "*lead edge"]:
        """The inverse of `matrix`."""
        reads, senders = self.places.T
        return matrix[..., reads, senders]

    def between(self, senders: str | Iterable[str], reads: str | Iterable[str]) -> Bool[np.ndarray, " edge"]:
        """Which edges go from one of some nodes to one of some reads.

        Args:
            senders: names of nodes.
            reads: names of reads; a head's own name stands for its query, key and value.

        Raises:
            LandedError: for a name that there is not.

        >>> graph = Graph(n_layers=2, n_heads=1, d_model=4)
        >>> [graph.edges[i] for i in np.flatnonzero(graph.between("m0", ["a1.h0", "m0", "logits"]))]
        ['m0->a1.h0<q>', 'm0->a1.h0<k>', 'm0->a1.h0<v>', 'm0->logits']
        """
        from_node = np.isin(np.arange(len(self.senders)), self.sender_numbers(senders))
        to_read = np.isin(np.arange(len(self.reads)), self.read_numbers(reads))
        return (to_read[:, None] & from_node[None])[self.exists]

    def sender_numbers(self, names: str | Iterable[str]) -> list[int]:
        """The places of nodes among `senders`.

        Raises:
            LandedError: for a name that there is not.
        """
        known = {name: place for place, name in enumerate(self.senders)}
        return [_found(known, name, "node that writes", self.senders) for name in _listed(names)]

    def read_numbers(self, names: str | Iterable[str]) -> list[int]:
        """The places of reads among `reads`; a head's own name stands for its three.

        Raises:
            LandedError: for a name that there is not.
        """
        known = {name: place for place, name in enumerate(self.reads)}
        whole = [
            name if name in known or f"{name}<q>" not in known else [f"{name}<{p}>" for p in PARTS]
            for name in _listed(names)
        ]
        names = [name for part in whole for name in ([part] if isinstance(part, str) else part)]
        return [_found(known, name, "read", self.reads) for name in names]

    def reads_of_senders(self) -> Bool[np.ndarray, "sender read"]:
        """Which reads are a node's own: those that it computes its write from."""
        own = np.zeros((len(self.senders), len(self.reads)), bool)
        names = self.reads
        for read, name in enumerate(names[:-1]):
            own[self.senders.index(name.split("<")[0]), read] = True
        return own


def _fixed(array: np.ndarray) -> np.ndarray:
    """The array, read-only: all who ask a graph share it."""
    array.flags.writeable = False
    return array


def _listed(names: str | Iterable[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else list(names)


def _found(known: dict[str, int], name: str, what: str, names: Sequence[str]) -> int:
    if name not in known:
        raise LandedError(f"{shown(name)} is no {what} of this model: it has {names[0]}, {names[1]}, … {names[-1]}.")
    return known[name]
