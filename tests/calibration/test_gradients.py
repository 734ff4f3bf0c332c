"""The log density that is handed to the sampler, against its closed form."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest

from uqbench.calibration.gradients import compiled_model

MEASURED, OTHERS = np.array([0.3, -1.2]), np.array([2.0, 0.1])


@pytest.fixture(scope="module")
def compiled():
    with pm.Model() as model:
        # of what is computed from draws alone, and therefore no argument of the log density
        drawn = pm.Data("a.drawn", np.array([1.0, 2.0]))
        measured = pm.Data("measured", MEASURED)
        x = pm.Normal("x.", 0.0, 1.0, shape=2)
        s = pm.HalfNormal("s.", 1.0)
        pm.Potential("misfit", -pm.math.sum((measured - x) ** 2) / s)
        pm.Deterministic("scaled.", drawn * x)
    return compiled_model(model)


def closed_form(point, measured):
    """Log density at (x, log s), and its gradient."""
    x, s = point[:2], np.exp(point[2])
    misfit = np.sum((measured - x) ** 2)
    value = -np.sum(x**2) / 2 - np.log(2 * np.pi) + np.log(2 / np.pi) / 2 - s**2 / 2 + point[2] - misfit / s
    return value, np.append(-x + 2 * (measured - x) / s, -(s**2) + 1 + misfit / s)


@pytest.mark.parametrize("measured", [MEASURED, OTHERS], ids=["as compiled", "replaced"])
def test_the_log_density_and_its_gradient_are_those_of_the_closed_form(compiled, measured):
    model = compiled.with_data(measured=jnp.asarray(measured))
    assert model.n_dim == 3
    for point in np.random.default_rng(0).normal(size=(3, 3)):
        value, gradient = model._make_logp_func()(point, **model._shared_data)
        expected, slope = closed_form(point, measured)
        assert isinstance(value, float)
        assert gradient.dtype == np.float64
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12)
