"""A program of several processes: every analysis, of a model whose weights lie on the devices of all of them."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import landed_jax as landed
from landed_jax.analysis.registry import Analysis, analyses
from landed_jax.mesh import mesh_of
from landed_jax.nn.parameters import Params, build_tree, leaf_places
from landed_jax.nn.sharding import leaf_sharding
from landed_jax.processes import gathered, spans_processes
from landed_jax.results.result import Result
from landed_jax.studies._progress import packed
from tests.distributed.together import join
from tests.models import SMALL, random_params

CONFIG = dataclasses.replace(SMALL, vocab_size=16, d_ff=12)  # sizes that four devices can share
PROMPTS = [[1, 5, 2], [3, 3, 8]]


def cut_params(mesh: jax.sharding.Mesh) -> Params:
    """The weights, cut over the mesh."""
    params: Any = random_params(CONFIG)

    def at(path: tuple[str, ...]) -> np.ndarray:
        node = params
        for part in path:
            node = node[part]
        return np.asarray(node)

    places = leaf_places(CONFIG)
    return build_tree((path, jax.device_put(at(path), leaf_sharding(leaf, CONFIG, mesh))) for path, leaf in places)


def found_by(analysis: Analysis, params: Params) -> Any:
    _, trace = landed.forward(
        params, landed.Tokens.from_lists(PROMPTS), CONFIG, record=analysis.record | landed.RESIDUALS
    )
    trace = trace.bind(params, model="tiny")
    return analysis.function(trace, *((4,) if analysis.asks else ()), **analysis.example(trace))


def main(mesh: str, folder: Path) -> None:
    params = cut_params(mesh_of(mesh))
    several = jax.process_count() > 1
    assert spans_processes(params) == several
    arrays: dict[str, np.ndarray] = {}
    for name, analysis in analyses().items():
        found = jax.jit(lambda params, analysis=analysis: found_by(analysis, params))(params)
        leaves = jax.tree.leaves_with_path(found)
        arrays |= {f"{name}{jax.tree_util.keystr(path)}": np.asarray(gathered(leaf)) for path, leaf in leaves}
        if isinstance(found, Result):
            labelled = found.to_xarray()
            arrays |= {f"{name}/{variable}": values.values for variable, values in labelled.data_vars.items()}
            assert len(found.to_pandas()) == sum(values.size for values in labelled.data_vars.values())
            assert repr(found).startswith(f"{type(found).__name__}(tiny, 2 layers, 2 × 3 tokens; ")
            if isinstance(
                found, landed.attribution.Attribution | landed.attribution.Volume | landed.landing.SourceMoves
            ):
                print(found.top(5))
    shares = found_by(analyses()["attribute"], params)  # as users call it, piece by piece
    print(shares.top(5))
    shares.save(folder / "shares.nc")
    if several:
        assert not shares.landed.heads.is_fully_replicated  # so that there was something to gather
        with pytest.raises(landed.LandedError, match="does not exist"):  # on every process
            shares.save(folder / "nowhere" / "shares.nc")
    (folder / f"{jax.process_index()}.npz").write_bytes(packed(arrays))


if __name__ == "__main__":
    join()
    main(sys.argv[1], Path(sys.argv[2]))
