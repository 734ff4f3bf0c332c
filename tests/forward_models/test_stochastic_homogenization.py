"""Windows of a lognormal medium in two dimensions: the median in the limit, self-averaging, and slopes of a run."""

import jax
import jax.numpy as jnp
import numpy as np

import uqbench as uq
from forward_models.stochastic_homogenization import apparent, medium, model
from uqbench.random_media import apparent_values, estimate_with_controls, window_errors

WINDOWS, REALISATIONS, SD = (6, 8, 12, 16), 160, 0.7


def windows():
    """Apparent diffusivities, and means of ln D, of every window."""
    found = []
    for window in WINDOWS:
        embedding = medium(window)

        def of(key, embedding=embedding):
            field = embedding.field(embedding.noise(key), jnp.array([1.0, 1.0]))
            return jnp.stack([jnp.trace(apparent(1.0, SD, key, embedding)[0]) / 2, SD * jnp.mean(field)])

        found.append(np.asarray(apparent_values(of, jax.random.key(window), REALISATIONS)))
    return found


def test_the_median_is_the_limit_and_windows_average_themselves():
    found = windows()
    errors = window_errors(WINDOWS, [each[:, 0] for each in found], order=2)
    assert abs(errors.effective - 1.0) < 3 * errors.effective_error < 0.1
    # the law is that of windows much longer than a correlation length
    assert abs(errors.slope + 2) < 0.15 + 2 * errors.slope_error
    # the mean of ln D is known to be 0: most of what windows differ by
    controlled = estimate_with_controls(found[-1][:, 0], found[-1][:, 1:], [0.0])
    assert controlled.gain > 5
    assert abs(controlled.value - 1.0) < 4 * controlled.error + 2 * abs(errors.systematic) / WINDOWS[-1] ** 2


def test_a_run_has_the_slopes_of_its_realisation():
    key, design = jax.random.key(3), uq.Design([0.0])

    def effective(median, sd):
        run = uq.evaluate(model, {"median": median, "sd": sd}, design, key=key)
        return run.outputs["D_eff"]

    slopes = jax.grad(lambda x: effective(*x))(jnp.array([3.0, 0.5]))
    value = float(effective(3.0, 0.5))
    # the tensor is proportional to the median
    assert np.isclose(float(slopes[0]), value / 3.0, rtol=1e-6)
    h = 1e-5
    assert np.isclose(float(slopes[1]), float(effective(3.0, 0.5 + h) - effective(3.0, 0.5 - h)) / (2 * h), rtol=1e-5)
