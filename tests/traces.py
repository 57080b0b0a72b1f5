"""Traces of small random models, and their numbers in the order in which the references list the writes."""

import dataclasses
from typing import Any

import jax
import numpy as np

import landed_jax as landed
from landed_jax import WRITES, Trace
from landed_jax.nn import PerWrite
from landed_jax.nn.config import ModelConfig
from landed_jax.provenance import Provenance
from tests.models import random_params, random_tokens

run = jax.jit(landed.forward, static_argnames=("config", "record", "dtype"))


def traced(config: ModelConfig, record: frozenset = WRITES, params: dict | None = None, **arguments) -> Trace:
    params = random_params(config) if params is None else params
    logits, trace = run(params, random_tokens(config), config, record=record, **arguments)
    return dataclasses.replace(trace, logits=logits).bind(params)


def column(part: PerWrite, b: int, p: int) -> np.ndarray:
    """One position's numbers in the order of `every_write`."""
    embeddings = [part.embedding] if part.position_embedding is None else [part.embedding, part.position_embedding]
    values = [np.asarray(embedding)[b, p][None] for embedding in embeddings]
    for layer in range(part.heads.shape[0]):
        values += [np.asarray(part.heads)[layer, b, p], np.asarray(part.neurons)[layer, b, p]]
        values += [np.asarray(kind)[layer, b, p][None] for kind in (part.attn_bias, part.mlp_bias)]
    return np.concatenate(values)


def real_positions(trace: Trace) -> list[tuple[int, int]]:
    return [tuple(int(i) for i in place) for place in np.argwhere(np.asarray(trace.tokens.mask))]


def unembedding(params: dict, config: ModelConfig) -> np.ndarray:
    """What reads each token's logit, before a cap."""
    W_U = params["unembed"]["W_U"] if "unembed" in params else params["embed"]["W_E"]
    return config.logit_scale * np.asarray(W_U, np.float64)


def asked_by(target: Any = None, against: Any = None, centred: bool = False, read: Any = None) -> Any:
    """The question that a case's arguments ask."""
    return landed.Logit(target, against=against, centred=centred) if read is None else read


def numbers(found: Any) -> list[jax.Array]:
    """A result's arrays, without those of its provenance and its parts'."""
    leaves = jax.tree.leaves(found, is_leaf=lambda part: isinstance(part, Provenance))
    return [leaf for leaf in leaves if not isinstance(leaf, Provenance)]
