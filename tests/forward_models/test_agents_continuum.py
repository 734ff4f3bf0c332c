"""A colony that grows into a strip: nothing of the drug is lost, and many cells follow the mean field."""

import jax
import numpy as np

import uqbench as uq
from forward_models.agents_continuum import CAPACITY, mean_field, model, space
from uqbench.agents import Ending

design = uq.Design([0.0, 25.0, 50.0])


def test_the_drug_is_conserved_and_cells_follow_the_mean_field():
    keys = jax.random.split(jax.random.key(0), 4)
    thetas = {name: np.full(4, float(space.nominal()[name])) for name in space.free}
    runs = uq.evaluate_many(model, thetas, design, keys)
    expected = uq.evaluate(mean_field, space.nominal(), design)
    assert runs.result.tolist() == [0] * 4
    assert float(np.abs(np.asarray(runs.outputs["lost"])).max()) < 1e-12
    assert float(np.abs(np.asarray(expected.outputs["lost"])).max()) < 1e-12
    cells = np.asarray(runs.outputs["cells"])[:, -1]
    # fronts of single cells are a little slower
    assert 0.85 < cells.mean() / float(expected.outputs["cells"][-1]) < 1.02
    taken = np.asarray(runs.outputs["in_cells"])[:, -1].mean() / float(expected.outputs["in_cells"][-1])
    assert 0.9 < taken < 1.02


def test_the_mean_field_has_gradients():
    theta = {name: space.nominal()[name] for name in space.free}

    def inside(theta):
        return uq.evaluate(mean_field, theta, design).outputs["in_cells"][-1]

    gradient = jax.jacfwd(inside)(theta)
    for name, value in theta.items():
        step = 1e-4 * float(value)
        difference = float(inside({**theta, name: value + step}) - inside({**theta, name: value - step})) / (2 * step)
        np.testing.assert_allclose(gradient[name], difference, rtol=1e-6)


def test_a_full_population_has_a_code():
    assert CAPACITY > 4000  # both halves of the strip at the density K
    crowded = uq.evaluate(model, {**space.nominal(), "r": 0.5, "K": 8000.0, "D_cell": 0.05}, design, jax.random.key(0))
    assert int(crowded.result) == Ending.CROWDED
    assert "slots" in model.dynamics.sentence(Ending.CROWDED)
