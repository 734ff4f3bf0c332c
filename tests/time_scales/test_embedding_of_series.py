"""Embeddings of Prony series: trajectories of a system of which only samples of its memory are known."""

import pickle

import numpy as np
import pytest

import uqbench as uq
from uqbench.initial_value import odes
from uqbench.time_scales.memory import Prony, embedding_of_series, memory_kernel, prony
from uqbench.time_scales.memory.matrix_exponential import exponentials

from .linear_systems import DRIVE, LINEAR, TWO, TWO_AT, affine_of, random_system, slow_part

DESIGN = uq.Design([0.0, 0.3, 1.0, 2.5, 6.0])


def at_rest(seed):
    """A kernel whose fast states bring nothing with them, neither from the start nor from sources."""
    inputs = random_system(seed)
    inputs["start"][2:] = inputs["source"][2:] = 0.0
    return memory_kernel(LINEAR, ["x1", "x2", "x3", "x4"], {}, inputs)


def from_samples(kernel, modes, noise=0.0):
    """A system with the memory fitted to 80 samples of the kernel with noise, and the fit."""
    step = 0.1 * float(kernel.memory_time)
    samples = np.asarray(kernel.kernel(step * np.arange(80)))
    samples = samples + noise * np.abs(samples).max() * np.random.default_rng(1).standard_normal(samples.shape)
    fit = prony(samples, step, modes)
    start = dict(zip(kernel.slow, kernel.start_slow, strict=True))
    return embedding_of_series(fit, kernel.A, start, source=kernel.source_slow), fit


@pytest.mark.parametrize("seed", range(6))
def test_a_sampled_kernel_gives_the_trajectories_back(seed):
    kernel, times = at_rest(seed), np.linspace(0.0, 6.0, 61)
    system, _ = from_samples(kernel, 4)
    assert [*system.initial({}, {})] == ["y1", "y2", "z1", "z2", "z3", "z4"]
    found = slow_part(kernel, affine_of(system, kernel.slow), times)
    # directions of 1e-10 of the kernel are left out
    np.testing.assert_allclose(found, slow_part(kernel, kernel.full(), times), rtol=0, atol=1e-9)


@pytest.mark.parametrize("modes, noise", [(2, 0.0), (3, 0.0), (4, 1e-6), (4, 1e-3)])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_trajectories_err_by_what_the_fit_errs(seed, modes, noise):
    """e' = A e + K * e + (difference of kernels) * y, so max abs e <= int G dt int abs(difference) ds max abs y."""
    kernel, times = at_rest(seed), np.linspace(0.0, 6.0, 601)
    system, fit = from_samples(kernel, modes, noise)
    affine, full = affine_of(system, kernel.slow), slow_part(kernel, kernel.full(), times)
    response, difference = exponentials(affine.matrix, times)[:, :2, :2], fit(times) - kernel.kernel(times)
    growth, misfit = (np.trapezoid(np.abs(part).sum(axis=-1).max(axis=-1), times) for part in (response, difference))
    error = np.abs(slow_part(kernel, affine, times) - full).max()
    assert error <= growth * misfit * np.abs(full).max()
    # and in figures: at most 7.5 times the residual here
    assert error <= 10 * fit.residual


def test_a_series_of_any_rates_is_the_kernel_of_its_embedding():
    """Pairs, a complex rate without its partner, a real one, residues of full rank: what counts is the real part."""
    rng = np.random.default_rng(0)
    rates = np.array([-1 + 2j, -1 - 2j, -0.5 + 3j, -2.0])
    residues = rng.standard_normal((4, 2, 2)) + 1j * rng.standard_normal((4, 2, 2))
    series, lags = Prony(rates, residues, 0.0), np.linspace(0.0, 4.0, 17)
    system = embedding_of_series(series, np.zeros((2, 2)), {"y": 1.0, "w": 0.0})
    auxiliary = [name for name in system.initial({}, {}) if name.startswith("z")]
    assert len(auxiliary) == 2 * (2 + 2 + 1)
    found = memory_kernel(system, auxiliary, {}, {})
    np.testing.assert_allclose(found.kernel(lags), series(lags), rtol=0, atol=1e-13)


def test_a_system_from_samples_solves_like_any_other():
    kernel = memory_kernel(TWO, ["x"], TWO_AT | {"x0": 0.7 / 8}, DRIVE)
    fit = prony(kernel.kernel(0.02 * np.arange(20)), 0.02, 1)
    # fast states that start where their source keeps them add a constant
    system = embedding_of_series(fit, kernel.A, {"y": 1.0}, source=[0.3 + 1.5 * 0.7 / 8])
    found = odes.solve(pickle.loads(pickle.dumps(system)), {}, DESIGN, method="implicit")
    assert int(found.result) == 0
    np.testing.assert_allclose(
        found.states["y"], slow_part(kernel, kernel.full(), DESIGN.times)[:, 0], rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(
    "rates, residues, A, start, source, findings",
    [
        ([-1.0], np.ones((1, 2, 2)), np.eye(2), {"y": 1.0}, [0.0, 0.0],
         ["A has the shape (2, 2); for 1 slow states it must be (1, 1)", "source has the shape (2,)", "residues has"]),
        ([-1.0], np.ones(1), [[0.0]], {"y": 1.0}, None, ["residues has the shape (1,)"]),
        ([0.0, -1.0, 0.5 + 1j], np.ones((3, 1, 1)), [[np.nan]], {"y": np.inf}, None,
         ["A has values that are not finite", "start has values", "the rates 0+0j, 0.5+1j do not decay"]),
    ],
    ids=["sizes", "a row of residues", "numbers"],
)  # fmt: skip
def test_a_series_that_is_no_memory(rates, residues, A, start, source, findings):
    with pytest.raises(uq.InputError) as error:
        embedding_of_series(Prony(np.array(rates, complex), residues, 0.0), A, start, source=source)
    assert len(error.value.findings) == len(findings)
    assert all(part in finding for part, finding in zip(findings, error.value.findings, strict=True))
