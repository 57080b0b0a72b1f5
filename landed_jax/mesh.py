"""Meshes of devices: how users name them, and which one a program's arrays lie on."""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from landed_jax.errors import LandedError, shown

DATA, MODEL = "data", "model"
AXES = (DATA, MODEL)


def mesh_sizes(text: str) -> dict[str, int]:
    """The size of each axis, from text such as ``data=2,model=4``; an axis that is not named has size 1.

    Raises:
        LandedError: for another axis, an axis twice, or a size that is no whole number of at least 1.

    >>> mesh_sizes("model=4"), mesh_sizes("data=2, model=4")
    ({'data': 1, 'model': 4}, {'data': 2, 'model': 4})
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(\d{1,7})\s*", part, re.ASCII)
        if found is None or found[1] not in AXES or found[1] in sizes or int(found[2]) < 1:
            raise LandedError(f"The mesh {shown(text)} is not understood at {shown(part)}: write data=2,model=4.")
        sizes[found[1]] = int(found[2])
    return {axis: sizes.get(axis, 1) for axis in AXES}


def check_mesh(mesh: Any) -> None:
    """
    Raises:
        LandedError: for what is no mesh.

    >>> check_mesh("model=2")
    Traceback (most recent call last):
    landed_jax.errors.LandedError: mesh='model=2' is no jax.sharding.Mesh: landed_jax.mesh.mesh_of('data=2,model=4') ...
    """
    if not isinstance(mesh, Mesh):
        how = "landed_jax.mesh.mesh_of('data=2,model=4') makes one."
        raise LandedError(f"mesh={shown(mesh)} is no jax.sharding.Mesh: {how}")


def mesh_of(text: str, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh that `mesh_sizes` describes.

    Prompts are cut over its axis ``data``; heads, neurons and the vocabulary over ``model``.

    Args:
        devices: by default all devices of all processes. Of one process's, the mesh may leave some out.

    Raises:
        LandedError: as `mesh_sizes`, and where there are not as many devices.

    >>> dict(mesh_of("data=1,model=1").shape)
    {'data': 1, 'model': 1}
    """
    sizes = mesh_sizes(text)
    devices = jax.devices() if devices is None else devices
    count = math.prod(sizes.values())
    if count > len(devices):
        raise LandedError(f"The mesh {shown(text)} needs {count} devices, and there are {len(devices)}.")
    if count < len(devices) and jax.process_count() > 1:
        raise LandedError(
            f"The mesh {shown(text)} has {count} devices: with several processes it has to have all {len(devices)}."
        )
    return jax.make_mesh(tuple(sizes.values()), AXES, (AxisType.Auto,) * len(AXES), devices=devices[:count])
