"""Memory kernels: against the Volterra equation that they stand in, closed forms, and the full system."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.time_scales.memory import memory_kernel

from .linear_systems import CHAIN, CHAIN_AT, CHAIN_FAST, DRIVE, TWO, TWO_AT, random_kernel, slow_part, two_initial


def test_one_fast_state_has_an_exponential_kernel():
    kernel = memory_kernel(TWO, ["x"], TWO_AT, DRIVE)
    lags = np.linspace(0.0, 2.0, 9)
    np.testing.assert_allclose(kernel.kernel(lags)[:, 0, 0], 3.0 * np.exp(-8.0 * lags), atol=1e-15)
    assert float(kernel.memory_time) == pytest.approx(1 / 8)
    assert float(kernel.memoryless[0, 0]) == pytest.approx(-0.5 + 3.0 / 8)
    assert float(kernel.delay[0, 0]) == pytest.approx(3.0 / 64)
    forcing = 0.3 + 1.5 * (3.0 * np.exp(-8.0 * lags) + 0.7 / 8 * -np.expm1(-8.0 * lags))
    np.testing.assert_allclose(kernel.forcing(lags)[:, 0], forcing, rtol=1e-12)
    assert (kernel.modes.rates.tolist(), kernel.modes.residues.ravel().tolist()) == ([-8.0], [3.0])


def volterra(kernel, end, nodes=48):
    """y' = A y + int K(s) y(t-s) ds + f by collocation at Chebyshev points, y itself being the unknown: `(n, slow)`.

    The integral from 0 to each node is a Gauss-Legendre sum over values of the interpolant of y.
    """
    angle = np.pi * np.arange(nodes) / (nodes - 1)
    times = end * (1 - np.cos(angle)) / 2
    barycentric = (-1.0) ** np.arange(nodes)
    barycentric[[0, -1]] /= 2
    gauss, weights = np.polynomial.legendre.leggauss(nodes)
    size = len(kernel.slow)
    gap = times[:, None] - times + np.eye(nodes)
    derivative = barycentric / barycentric[:, None] / gap
    derivative -= np.diag(derivative.sum(axis=1))
    system = np.kron(derivative, np.eye(size)) - np.kron(np.eye(nodes), np.asarray(kernel.A))
    for i in range(1, nodes):
        past = times[i] * (gauss + 1) / 2
        values = np.asarray(kernel.kernel(times[i] - past)) * (weights * times[i] / 2)[:, None, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            basis = barycentric / (past[:, None] - times)
        basis /= basis.sum(axis=1, keepdims=True)
        memory = np.einsum("gj,gab->ajb", basis, values).reshape(size, nodes * size)
        system[i * size : (i + 1) * size] -= memory
    right = np.asarray(kernel.forcing(times)).copy()
    system[:size], right[0] = np.eye(size, nodes * size), np.asarray(kernel.start_slow)
    return times, np.linalg.solve(system, right.ravel()).reshape(nodes, size)


@pytest.mark.parametrize(
    "make",
    [lambda: random_kernel(0), lambda: random_kernel(5, 3), lambda: memory_kernel(CHAIN, CHAIN_FAST, CHAIN_AT, {})],
    ids=["complex pairs", "three", "equal rates"],
)
def test_the_volterra_equation_with_the_kernel_has_the_solution_of_the_full_system(make):
    kernel = make()
    times, y = volterra(kernel, 3.0)
    np.testing.assert_allclose(y, slow_part(kernel, kernel.full(), times), rtol=0, atol=1e-10)


def test_a_chain_of_equal_rates_has_a_gamma_kernel():
    """K(s) = -k r^4 s^3 / 3! e^(-r s), which no sum of exponentials is."""
    kernel = memory_kernel(CHAIN, CHAIN_FAST, CHAIN_AT, {})
    lags = np.linspace(0.0, 4.0, 17)
    np.testing.assert_allclose(
        kernel.kernel(lags)[:, 0, 0], -0.8 * 3.0**4 * lags**3 / 6 * np.exp(-3 * lags), atol=1e-13
    )
    assert float(kernel.delay[0, 0]) == pytest.approx(-0.8 * 4 / 3.0)
    assert [block.size for block in kernel.blocks] == [4]
    with pytest.raises(uq.InputError, match="too close to be distinguished"):
        _ = kernel.modes


@pytest.mark.parametrize("seed", range(6))
def test_modes_sum_to_the_kernel(seed):
    kernel = random_kernel(seed)
    assert len(kernel.modes.rates) == 4
    assert kernel.modes.residual < 1e-12
    lags = np.linspace(0.0, 2.0, 7)
    np.testing.assert_allclose(kernel.modes(lags), kernel.kernel(lags), atol=1e-11)


def test_the_kernel_is_differentiable_under_a_trace():
    @jax.jit
    def value(d):
        return memory_kernel(TWO, ["x"], TWO_AT | {"d": d}, DRIVE).kernel(0.25)[0, 0, 0]

    assert float(jax.jacfwd(value)(8.0)) == pytest.approx(-0.25 * 3 * np.exp(-2.0), rel=1e-10)
    assert float(jax.grad(value)(8.0)) == pytest.approx(-0.25 * 3 * np.exp(-2.0), rel=1e-10)


# bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fast, findings",
    [
        ([], ["no fast state is named"]),
        (["x", "w", "x"], ["named twice", "'w' is no state"]),
        (["x", "y"], ["none is left to be slow"]),
    ],
)
def test_names_of_fast_states(fast, findings):
    with pytest.raises(uq.InputError) as error:
        memory_kernel(TWO, fast, TWO_AT, DRIVE)
    assert len(error.value.findings) == len(findings)
    assert all(part in finding for part, finding in zip(findings, error.value.findings, strict=True))


@pytest.mark.parametrize(
    "changed, drive, finding",
    [
        ({"d": np.ones(2)}, DRIVE, r"'d' has the shape \(2,\)"),
        ({"d": "fast"}, DRIVE, "'d' is 'fast', not a number"),
        ({"d": None}, {}, "'d' is None"),
        ({}, {}, "the system reads 'drive'"),
    ],
)
def test_parameters_are_checked_first(changed, drive, finding):
    with pytest.raises(uq.InputError, match="memory_kernel:\n  - .*" + finding):
        memory_kernel(TWO, ["x"], TWO_AT | changed, drive)


def test_a_parameter_that_is_missing():
    theta = {name: value for name, value in TWO_AT.items() if name != "d"}
    with pytest.raises(uq.InputError, match="the system reads 'd', which is neither a parameter"):
        memory_kernel(TWO, ["x"], theta, DRIVE)


def bent(t, y, p, inputs):
    return {"y": -y["y"] * y["x"], "x": jnp.where(y["y"] > 0, y["y"], 0.0) - p["d"] * y["x"]}


def driven(t, y, p, inputs):
    return {"y": -y["y"] + y["x"], "x": y["y"] * jnp.cos(t) - p["d"] * y["x"]}


def test_what_is_not_linear_is_named_by_its_slope():
    with pytest.raises(uq.InputError) as error:
        memory_kernel(uq.Ode(two_initial, bent), ["x"], TWO_AT, DRIVE)
    assert [finding.split(";")[0] for finding in error.value.findings] == [
        "the rate of 'y' is not linear: its slope by 'y' depends on 'x'",
        "the rate of 'x' is not linear: its slope by 'y' depends on 'y'",
        "the rate of 'y' is not linear: its slope by 'x' depends on 'y'",
    ]


def test_time_and_schedules_are_refused_together():
    system = replace(uq.Ode(two_initial, driven), doses=lambda p, inputs: {"y": (jnp.ones(1), jnp.ones(1))})
    with pytest.raises(uq.InputError) as error:
        memory_kernel(system, ["x"], TWO_AT, DRIVE)
    assert "has a schedule" in error.value.findings[0] and "uses the time" in error.value.findings[1]


@pytest.mark.parametrize("d", [-1.0, 0.0, np.nan])
def test_fast_states_that_do_not_settle(d):
    with pytest.raises(uq.InputError, match="do not settle while the slow ones are held"):
        memory_kernel(TWO, ["x"], TWO_AT | {"d": d}, DRIVE)
