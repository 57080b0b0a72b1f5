"""A program of several processes: every analysis, of a model whose weights lie on the devices of all of them."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

import landed_jax as landed
from landed_jax.analysis.registry import Analysis, analyses
from landed_jax.nn.parameters import Params, build_tree, leaf_places
from landed_jax.nn.sharding import leaf_sharding
from landed_jax.processes import gathered, spans_processes
from landed_jax.results.result import Result
from tests.distributed.join import join
from tests.models import SMALL, random_params

PROMPTS = np.array([[1, 5, 2], [3, 3, 8]])


def sharded_params(mesh: Mesh) -> Params:
    """The weights of every test, cut over the mesh."""
    params: Any = random_params(SMALL)

    def at(path: tuple[str, ...]) -> np.ndarray:
        node = params
        for part in path:
            node = node[part]
        return np.asarray(node)

    return build_tree(
        (path, jax.device_put(at(path), leaf_sharding(leaf, SMALL, mesh))) for path, leaf in leaf_places(SMALL)
    )


def found_by(analysis: Analysis, params: Params) -> Any:
    _, trace = landed.forward(params, PROMPTS, SMALL, record=analysis.record | landed.RESIDUALS)
    trace = trace.bind(params, model="tiny")
    return analysis.function(trace, *((4,) if analysis.asks else ()), **analysis.example(trace))


def numbers(found: Any) -> dict[str, np.ndarray]:
    """All arrays of a result by their paths."""
    leaves = jax.tree.leaves_with_path(found)
    return {jax.tree_util.keystr(path): np.asarray(gathered(leaf)) for path, leaf in leaves}


def main(folder: Path) -> None:
    mesh = Mesh(np.array(jax.devices()).reshape(1, -1), ("data", "model"))
    params = sharded_params(mesh)
    assert jax.process_count() == 1 or spans_processes(params)
    arrays: dict[str, np.ndarray] = {}
    for name, analysis in analyses().items():
        found = found_by(analysis, params)
        arrays |= {f"{name}{path}": values for path, values in numbers(found).items()}
        if isinstance(found, Result):
            labelled = found.to_xarray()
            arrays |= {f"{name}/{variable}": values.values for variable, values in labelled.data_vars.items()}
            assert len(found.to_pandas()) == sum(values.size for values in labelled.data_vars.values())
            assert repr(found).startswith(type(found).__name__)
            if hasattr(found, "top"):
                print(found.top(5))
    shares = found_by(analyses()["attribute"], params)
    shares.save(folder / "shares.nc")
    try:
        shares.save(folder / "missing" / "shares.nc")
    except landed.LandedError as error:
        assert "does not exist" in str(error)
    else:
        raise AssertionError("a folder that is not there was written to")
    np.savez(folder / f"{jax.process_index()}.npz", **arrays)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    join(sys.argv[2:])
    main(folder)
