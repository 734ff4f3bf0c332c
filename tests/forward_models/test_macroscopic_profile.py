"""The profile behind a wall: against the medium with its cells resolved, and its slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models.macroscopic_profile import CELLS, VOXELS, medium, model
from uqbench.macroscopic import resolved_problem

NOW = uq.Design([0.0])
AT = {"D_m": 1.0, "k": 10.0, "K": 1e-3, "cell": 10.0}


def run(**changes):
    return uq.evaluate(model, AT | changes, NOW)


def test_the_shifted_wall_makes_means_right():
    """Of the second to sixth cell, beyond the layer at the wall."""
    step = AT["cell"] / VOXELS
    resolved = resolved_problem(
        medium(AT["D_m"], AT["k"]), cells=CELLS, consumption=AT["K"], walls=(1.0, 0.0), spacing=(step, step)
    ).concentration.mean(1)
    means = np.asarray((resolved[1:] + resolved[:-1]) / 2).reshape(CELLS, VOXELS).mean(1)[1:6]
    out = run().outputs

    def excess(name):
        """Of the mean of an exponential between the ends of each cell, relative to that of the resolved one."""
        ends = np.asarray(out[name])[1:7]
        return (ends[:-1] - ends[1:]) / np.log(ends[:-1] / ends[1:]) / means - 1

    assert np.abs(excess("concentration")).max() < 0.15 * np.abs(excess("unshifted")).min()
    error = float(out["relative_error"][0])
    np.testing.assert_allclose(excess("unshifted"), -error, atol=0.25 * abs(error))


@pytest.mark.slow
def test_slopes_are_those_of_differences():
    outputs = ("concentration", "wall_shift", "relative_error", "oscillation")

    def summary(values):
        out = uq.evaluate(model, dict(zip(AT, values, strict=True)), NOW).outputs
        return jnp.concatenate([jnp.ravel(out[name]) for name in outputs])

    at = jnp.array(list(AT.values()))
    slopes = jax.jacfwd(summary)(at)
    for i, change in enumerate(jnp.diag(1e-4 * at)):
        expected = (summary(at + change) - summary(at - change)) / (2e-4 * at[i])
        np.testing.assert_allclose(slopes[:, i], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
    weights = jnp.linspace(1.0, 2.0, slopes.shape[0])
    reverse = jax.grad(lambda values: weights @ summary(values))(at)
    np.testing.assert_allclose(reverse, weights @ slopes, rtol=1e-7)


def test_a_diffusivity_that_is_not_positive_has_a_code():
    found = run(k=-1.0)
    assert "positive definite" in model.dynamics.sentence(int(found.result))
    assert np.all(np.isnan(found.outputs["concentration"]))


def test_smaller_cells_are_less_wrong():
    errors = [float(run(cell=cell).outputs["relative_error"][0]) for cell in (2.0, 4.0)]
    assert errors[1] / errors[0] == pytest.approx(2.0, rel=1e-6)
