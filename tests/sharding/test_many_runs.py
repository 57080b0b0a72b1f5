"""Studies and sweeps on a mesh: the numbers of one device."""

import jax.numpy as jnp
import numpy as np

import landed_jax as landed
from landed_jax.mesh import mesh_of
from landed_jax.nn.parameters import stack_layers
from tests.models import SMALL, random_params
from tests.sharding.test_analyses import on_mesh

PROMPTS = [[1, 5, 2], [3, 3, 8], [0, 12, 7], [9, 1, 1], [4, 2]]


def models() -> tuple[landed.Model, landed.Model]:
    params = random_params(SMALL, dtype=jnp.float64)
    cut = on_mesh(SMALL, stack_layers(params), mesh_of("data=2,model=2"))
    return landed.Model(SMALL, params), landed.Model(SMALL, cut)


def test_a_study(x64: None) -> None:
    one, other = (
        landed.study(model, PROMPTS, ["attribution", "effects", "scale", "top"], ids=True, dtype="float64").to_xarray()
        for model in models()
    )
    assert set(one) == set(other)
    for name in one:
        if np.issubdtype(one[name].dtype, np.number) and "closure" not in name:
            np.testing.assert_allclose(other[name], one[name], rtol=1e-9, atol=1e-9, err_msg=str(name))


def test_a_sweep(x64: None) -> None:
    tokens, stack = jnp.asarray(PROMPTS[:4]), landed.interventions.every_head(SMALL)
    one, other = (landed.sweep(model, tokens, stack, landed.Logit(4)) for model in models())
    np.testing.assert_allclose(other.effect, one.effect, atol=1e-9)
