"""Prony series: exponentials from samples, exact and noisy."""

import numpy as np
import pytest

import uqbench as uq
from uqbench.time_scales.memory import prony

from .linear_systems import random_kernel


@pytest.mark.parametrize("seed", range(3))
def test_a_sampled_kernel_gives_its_exponentials_back(seed):
    kernel = random_kernel(seed)
    step = 0.1 * float(kernel.memory_time)
    fit = prony(kernel.kernel(step * np.arange(80)), step, 4)
    order = [np.argmin(np.abs(fit.rates - rate)) for rate in kernel.modes.rates]
    np.testing.assert_allclose(fit.rates[order], kernel.modes.rates, rtol=1e-6)
    np.testing.assert_allclose(fit.residues[order], kernel.modes.residues, rtol=1e-4, atol=1e-6)
    assert fit.residual < 1e-10


def test_noise_stays_in_the_residual():
    lags, rng = 0.05 * np.arange(200), np.random.default_rng(0)
    exact = np.exp(-0.5 * lags) * np.cos(4 * lags)
    fit = prony(exact + 1e-3 * rng.standard_normal(200), 0.05, 2)
    np.testing.assert_allclose(np.sort_complex(fit.rates), [-0.5 - 4j, -0.5 + 4j], atol=5e-3)
    assert 2e-3 < fit.residual < 5e-3
    assert np.abs(fit(lags) - exact).max() < 2e-3
    assert prony(exact, 0.05, 1).residual > 0.1


@pytest.mark.parametrize(
    "samples, step, modes, findings",
    [
        ([1.0, np.nan, 1.0], 0.0, 3, ["not finite", "the step is 0.0", "3 modes from 3 lags"]),
        (0.5 ** np.arange(20), 1.0, 2, ["fewer than 2 exponentials"]),
        (0.5 ** np.arange(20), [1.0, 2.0], 1.0, ["must be one positive", "modes is 1.0; it must be a whole number"]),
        (0.5 ** np.arange(20), 1.0, 1.5, ["modes is 1.5; it must be a whole number"]),
        (np.zeros(20), 1.0, 1, ["fewer than 1 exponentials"]),
    ],
)
def test_samples_that_do_not_hold_the_modes(samples, step, modes, findings):
    with pytest.raises(uq.InputError) as error:
        prony(samples, step, modes)
    assert len(error.value.findings) == len(findings)
    assert all(part in finding for part, finding in zip(findings, error.value.findings, strict=True))
