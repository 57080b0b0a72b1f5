"""The order of reads and writes along the residual stream: the one place that knows it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from landed_jax.errors import LandedError
from landed_jax.nn.config import ModelConfig


@dataclass(frozen=True)
class StreamOrder:
    """Which norms read the stream, in which order, and where each layer's writes stand among them.

    A layer's attention reads and writes before its MLP does (Llama, Mistral); or both read before either writes
    (`parallel`: GPT-NeoX). Sites are counted from 0.

    Attributes:
        n_layers: layers of the model.
        parallel: whether both sites of a layer come before both of its writes.

    >>> order = StreamOrder(2)
    >>> order.sites
    ('0.attn', '0.mlp', '1.attn', '1.mlp', 'final')
    >>> order.next_attn, order.next_mlp
    (array([1, 3]), array([2, 4]))
    >>> StreamOrder(2, parallel=True).next_attn
    array([2, 4])
    """

    n_layers: int
    parallel: bool = False

    @classmethod
    def of(cls, config: ModelConfig) -> "StreamOrder":
        """The order in a model."""
        return cls(config.n_layers, config.parallel_blocks)

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the read sites, in order: the axis ``site`` of every result."""
        return (*(f"{layer}.{part}" for layer in range(self.n_layers) for part in ("attn", "mlp")), "final")

    @property
    def writes(self) -> tuple[str, ...]:
        """The names of the layers' whole writes, in the order in which they are added."""
        return tuple(f"{site}_write" for site in self.sites[:-1])

    @property
    def writes_before(self) -> np.ndarray:
        """``[site]``, how many of `writes`, in order, each site reads.

        >>> StreamOrder(2).writes_before, StreamOrder(2, parallel=True).writes_before
        (array([0, 1, 2, 3, 4]), array([0, 0, 2, 2, 4]))
        """
        attn, mlp = self.heard()
        return np.sum(attn, axis=1) + np.sum(mlp, axis=1)

    @property
    def next_attn(self) -> np.ndarray:
        """``[layer]``, the first site that reads each layer's attention write."""
        return self.next_mlp if self.parallel else 2 * np.arange(self.n_layers) + 1

    @property
    def next_mlp(self) -> np.ndarray:
        """``[layer]``, the first site that reads each layer's MLP write."""
        return 2 * np.arange(self.n_layers) + 2

    def index(self, site: str) -> int:
        """A read site's place in the order.

        Raises:
            LandedError: for a name that is not a read site of this model.
        """
        names = self.sites
        if site not in names:
            raise LandedError(f"{site!r} is not a read site: this model has {names[0]}, {names[1]}, … up to final.")
        return names.index(site)

    def layers_before(self, site: str) -> tuple[int, int]:
        """How many layers' attention writes, and how many layers' MLP writes, a read site reads.

        >>> [StreamOrder(2).layers_before(site) for site in ("0.attn", "1.attn", "1.mlp", "final")]
        [(0, 0), (1, 1), (2, 1), (2, 2)]
        """
        place = self.index(site)
        return int(np.sum(self.next_attn <= place)), int(np.sum(self.next_mlp <= place))

    def heard(self) -> tuple[np.ndarray, np.ndarray]:
        """``[site, layer]`` twice: whether each site reads each layer's attention write, and its MLP write."""
        place = np.arange(len(self.sites))[:, None]
        return place >= self.next_attn[None], place >= self.next_mlp[None]

    def interleave(self, attn: jax.Array, mlp: jax.Array) -> jax.Array:
        """The layers' values for attention and for the MLP, ``[layer, …]`` each, along one axis in stream order."""
        return jnp.stack([attn, mlp], axis=1).reshape(-1, *attn.shape[1:])

    def by_layer(self, values: jax.Array) -> jax.Array:
        """The inverse: ``[2 · layer, …]`` in stream order as ``[layer, attention or MLP, …]``."""
        return values.reshape(self.n_layers, 2, *values.shape[1:])


def site_names(config: ModelConfig) -> tuple[str, ...]:
    """The names of a model's read sites, in order.

    >>> site_names(ModelConfig(vocab_size=2, d_model=2, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=2))
    ('0.attn', '0.mlp', 'final')
    """
    return StreamOrder.of(config).sites
