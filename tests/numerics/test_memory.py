"""Memory kernels: against the Volterra equation that they stand in, closed forms, and the full system."""

import doctest
import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import uqbench as uq
from forward_models.receptor_tf import model as receptor
from uqbench.numerics import memory, odes
from uqbench.numerics.memory import compare, embedding, embedding_error, memory_kernel, prony

DESIGN = uq.Design([0.0, 0.3, 1.0, 2.5, 6.0])


def linear_initial(p, inputs):
    return {name: p["start"][k] for k, name in enumerate(["y1", "y2", "x1", "x2", "x3", "x4"][: len(p["start"])])}


def linear_rhs(t, y, p, inputs):
    rates = p["M"] @ jnp.stack([*y.values()]) + p["source"]
    return dict(zip(y, rates, strict=True))


LINEAR = uq.Ode(linear_initial, linear_rhs, rtol=1e-12, atol=1e-13)


def chain_initial(p, inputs):
    return {"y": jnp.ones(()), **{f"x{k}": jnp.zeros(()) for k in range(1, 5)}}


def chain_rhs(t, y, p, inputs):
    """y feeds a chain of four equal steps, the last of which removes y: a delay with a gamma distribution."""
    return {
        "y": -0.2 * y["y"] - p["k"] * y["x4"],
        "x1": p["r"] * (y["y"] - y["x1"]),
        "x2": p["r"] * (y["x1"] - y["x2"]),
        "x3": p["r"] * (y["x2"] - y["x3"]),
        "x4": p["r"] * (y["x3"] - y["x4"]),
    }


CHAIN = uq.Ode(chain_initial, chain_rhs, rtol=1e-12, atol=1e-13)
CHAIN_AT = {"k": 0.8, "r": 3.0}
CHAIN_FAST = ["x1", "x2", "x3", "x4"]


def two_initial(p, inputs):
    return {"y": p["y0"], "x": p["x0"]}


def two_rhs(t, y, p, inputs):
    return {"y": -p["a"] * y["y"] + p["b"] * y["x"] + 0.3, "x": p["c"] * y["y"] - p["d"] * y["x"] + inputs["drive"]}


TWO = uq.Ode(two_initial, two_rhs)
TWO_AT = {"a": 0.5, "b": 1.5, "c": 2.0, "d": 8.0, "y0": 1.0, "x0": 3.0}
DRIVE = {"drive": 0.7}


def random_system(seed, fast=4):
    """Two slow states and some fast ones, with couplings, sources and starts of all kinds."""
    rng = np.random.default_rng(seed)
    size = 2 + fast
    matrix = rng.standard_normal((size, size))
    matrix[2:, 2:] -= (2.5 + np.linalg.eigvals(matrix[2:, 2:]).real.max()) * np.eye(fast)
    matrix -= max(0.0, 0.3 + np.linalg.eigvals(matrix).real.max()) * np.eye(size)
    return {"M": matrix, "source": rng.standard_normal(size), "start": rng.standard_normal(size)}


def random_kernel(seed, fast=4):
    return memory_kernel(LINEAR, [f"x{k}" for k in range(1, fast + 1)], random_system(seed, fast), {})


def slow_part(kernel, affine, times):
    return np.asarray(affine.at(times))[:, : len(kernel.slow)]


def affine_of(system, order):
    """The numbers of a linear `Ode` without parameters, read from its functions."""
    start = system.initial({}, {})
    names = [*start]

    def rates(y):
        return jnp.stack([system.rhs(0.0, dict(zip(names, y, strict=True)), {}, {})[name] for name in names])

    zero = jnp.zeros(len(names))
    return memory.Affine(jax.jacfwd(rates)(zero), rates(zero), jnp.stack([start[name] for name in names]))


# the kernel itself ----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("eps", [1e-1, 1e-3, 1e-6, 1e-9, 1e-13])
def test_the_full_system_keeps_its_digits_however_fast_it_is(eps):
    """y(5) of the receptor in closed form (SYSTEMS.md), where halving and squaring has to bridge 14 decades."""
    theta = {"eps": eps, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
    kernel = memory_kernel(receptor.system, ["x"], theta, {})
    rate = 3.0 / eps
    exact = -4 / 3 * np.expm1(-2.5) - 2 / 3 * (np.exp(-2.5) - np.exp(-5 * rate)) / (rate - 0.5)
    assert float(kernel.full().at(5.0)[0, 0]) == pytest.approx(exact, rel=1e-13)
    assert float(kernel.memory_time) == pytest.approx(1 / rate, rel=1e-14)


def test_what_is_too_fast_for_any_digit_is_no_number():
    kernel = memory_kernel(TWO, ["x"], TWO_AT | {"d": 1e25}, DRIVE)
    assert np.all(np.isnan(kernel.full().at(1.0)))


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
    with pytest.raises(uq.InputError, match="too close to be told apart"):
        _ = kernel.modes


def test_the_kernel_is_differentiable_under_a_trace():
    @jax.jit
    def value(d):
        return memory_kernel(TWO, ["x"], TWO_AT | {"d": d}, DRIVE).kernel(0.25)[0, 0, 0]

    assert float(jax.jacfwd(value)(8.0)) == pytest.approx(-0.25 * 3 * np.exp(-2.0), rel=1e-10)
    assert float(jax.grad(value)(8.0)) == pytest.approx(-0.25 * 3 * np.exp(-2.0), rel=1e-10)


# modes and the embedding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_modes_sum_to_the_kernel(seed):
    kernel = random_kernel(seed)
    assert len(kernel.modes.rates) == 4
    assert kernel.modes.residual < 1e-12
    lags = np.linspace(0.0, 2.0, 7)
    np.testing.assert_allclose(kernel.modes(lags), kernel.kernel(lags), atol=1e-11)


@pytest.mark.parametrize("seed", range(6))
def test_the_embedding_is_the_full_system(seed):
    kernel = random_kernel(seed)
    times, system = np.linspace(0.0, 6.0, 13), embedding(kernel)
    assert [*system.initial({}, {})] == ["y1", "y2", "z1", "z2", "z3", "z4"]
    embedded = slow_part(kernel, affine_of(system, kernel.slow), times)
    np.testing.assert_allclose(embedded, slow_part(kernel, kernel.full(), times), rtol=0, atol=1e-10)


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-5, 1e-3, 0.3])
def test_rates_that_nearly_coincide_cost_no_digits(gap):
    """A chain with steps r, r (1 + gap), ...: by eigenvectors the error would grow like eps / gap^3."""
    rates = 3.0 * (1 + gap * np.arange(4))
    matrix = np.diag(np.append(-0.2, -rates)) + np.diag(rates, -1)
    matrix[0, 4] = -0.8
    theta = {"M": matrix[[0, 0, *range(1, 5)]][:, [0, 0, *range(1, 5)]], "source": np.zeros(6), "start": np.ones(6)}
    theta["M"][0, 1] = theta["M"][1, 0] = theta["M"][2, 1] = 0.0
    kernel = memory_kernel(LINEAR, ["x1", "x2", "x3", "x4"], theta, {})
    times = np.linspace(0.0, 6.0, 13)
    embedded = slow_part(kernel, affine_of(embedding(kernel), kernel.slow), times)
    np.testing.assert_allclose(embedded, slow_part(kernel, kernel.full(), times), rtol=0, atol=1e-10)
    assert max(block.size for block in kernel.blocks) == (4 if gap < 1e-2 else 1)


def test_units_of_the_fast_states_join_nothing():
    theta, units = random_system(2), np.array([1.0, 1.0, 1e6, 1e-5, 1.0, 1e3])
    scaled = theta | {"M": units[:, None] * theta["M"] / units}
    scaled |= {name: units * theta[name] for name in ("source", "start")}
    plain, other = (memory_kernel(LINEAR, ["x1", "x2", "x3", "x4"], p, {}) for p in (theta, scaled))
    assert [block.size for block in other.blocks] == [block.size for block in plain.blocks]
    times = np.linspace(0.0, 6.0, 7)
    embedded = slow_part(other, affine_of(embedding(other), other.slow), times)
    np.testing.assert_allclose(embedded, slow_part(other, other.full(), times), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "kernel", [random_kernel(1), memory_kernel(CHAIN, CHAIN_FAST, CHAIN_AT, {})], ids=["modes", "chain"]
)
def test_the_embedding_solves_like_any_other_system(kernel):
    system = pickle.loads(pickle.dumps(embedding(kernel)))
    found = jax.jit(lambda: odes.solve(system, {}, DESIGN, method="implicit"))()
    assert int(found.result) == 0
    full = slow_part(kernel, kernel.full(), DESIGN.times)
    np.testing.assert_allclose(np.stack([found.states[name] for name in kernel.slow], axis=1), full, rtol=0, atol=1e-10)


def test_without_modes_the_embedding_is_the_memoryless_system():
    kernel = random_kernel(4)
    affine, plain = affine_of(embedding(kernel, 0), kernel.slow), kernel.quasi_steady()
    np.testing.assert_allclose(affine.matrix, kernel.memoryless, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(affine.source, plain.source, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_of_what_is_left_out_holds(seed):
    kernel, times = random_kernel(seed), np.linspace(0.0, 6.0, 513)
    full = slow_part(kernel, kernel.full(), times)
    counts = np.cumsum([0] + [block.size for block in kernel.blocks])
    for modes in counts.tolist():
        error = np.abs(slow_part(kernel, affine_of(embedding(kernel, modes), kernel.slow), times) - full).max()
        found = embedding_error(kernel, modes, 6.0)
        assert error <= 1.001 * found.bound + 1e-12
        # and says something: it is 2 to 16 times the error here
        assert found.bound <= 20 * error
        assert found.lag <= sum(block.lag() for block in kernel.blocks[np.searchsorted(counts, modes) :]) * (1 + 1e-6)
    assert (found.weight, found.lag, found.bound) == (0.0, 0.0, 0.0)


def test_the_weight_that_is_left_out_is_the_integral_of_the_kernel():
    """For one exponential b c / d, for the price of its delay b c / d^2."""
    found = embedding_error(memory_kernel(TWO, ["x"], TWO_AT, DRIVE), 0, 4.0)
    assert (found.weight, found.lag) == (pytest.approx(3.0 / 8, rel=1e-6), pytest.approx(3.0 / 64, rel=1e-6))


def test_the_integral_of_an_oscillating_kernel():
    """int abs(e^-s cos(v s)) ds, summed over half waves."""
    turn = 20.0
    block = memory.Block(
        np.array([[-1.0, -turn], [turn, -1.0]]), np.array([[1.0, 0.0]]), np.array([[1.0], [0.0]]), *np.zeros((2, 2))
    )
    s = np.linspace(0.0, 40.0, 2_000_001)
    exact = np.trapezoid(np.abs(np.exp(-s) * np.cos(turn * s)), s)
    # the quadrature passes over the corners of the absolute value
    assert block.weight() == pytest.approx(exact, rel=1e-3)


def test_a_pair_is_not_cut():
    kernel = next(kernel for kernel in map(random_kernel, range(6)) if kernel.blocks[0].size == 2)
    with pytest.raises(uq.InputError, match=r"1 auxiliary states cannot be kept: complex pairs.*possible are 0, 2"):
        embedding(kernel, 1)


def test_auxiliary_states_take_names_that_are_free():
    def initial(p, inputs):
        return {"z1": jnp.ones(()), "x": jnp.ones(())}

    def rhs(t, y, p, inputs):
        return {"z1": -y["z1"] + y["x"], "x": y["z1"] - 9 * y["x"]}

    assert [*embedding(memory_kernel(uq.Ode(initial, rhs), ["x"], {}, {})).initial({}, {})] == ["z1", "zz1"]


# beside the memoryless system -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [memory_kernel(TWO, ["x"], TWO_AT, DRIVE), random_kernel(3)], ids=["two", "random"])
def test_reductions_err_by_their_order_in_eps(kernel):
    found = compare(kernel, uq.Design([1.0, 2.0, 4.0]), eps=(1e-3, 1e-4))
    assert float(found.slope.sel(reduction="memoryless")) == pytest.approx(1.0, abs=0.01)
    assert float(found.slope.sel(reduction="first order")) == pytest.approx(2.0, abs=0.02)
    assert float(np.abs(found.error.sel(reduction="embedded")).max()) < 1e-10
    assert np.isnan(found.slope.sel(reduction="embedded"))
    exact = scipy.linalg.expm(
        np.block(
            [
                [np.asarray(kernel.full().matrix), np.asarray(kernel.full().source)[:, None]],
                [np.zeros((1, len(kernel.full().start) + 1))],
            ]
        )
        * 2.0
    )
    exact = (exact @ np.append(kernel.full().start, 1.0))[: len(kernel.slow)]
    np.testing.assert_allclose(found.full.sel(time=2.0), exact, atol=1e-12)


def test_a_comparison_needs_times_and_factors():
    kernel = memory_kernel(TWO, ["x"], TWO_AT, DRIVE)
    with pytest.raises(uq.InputError) as error:
        compare(kernel, uq.Design([np.inf]), eps=(0.1,))
    assert "finite" in error.value.findings[0] and "two positive factors" in error.value.findings[1]


# exponentials from samples --------------------------------------------------------------------------------------------


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
        ([1.0, np.nan, 1.0], 0.0, 3, ["not finite", "must be positive", "3 modes from 3 lags"]),
        (0.5 ** np.arange(20), 1.0, 2, ["fewer than 2 exponentials"]),
        (np.zeros(20), 1.0, 1, ["fewer than 1 exponentials"]),
    ],
)
def test_samples_that_do_not_hold_the_modes(samples, step, modes, findings):
    with pytest.raises(uq.InputError) as error:
        prony(samples, step, modes)
    assert len(error.value.findings) == len(findings)
    assert all(part in finding for part, finding in zip(findings, error.value.findings, strict=True))


# bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fast, findings",
    [
        ([], ["no fast state is named"]),
        (["x", "w", "x"], ["'w' is no state", "named twice"]),
        (["x", "y"], ["none is left to be slow"]),
    ],
)
def test_names_of_fast_states(fast, findings):
    with pytest.raises(uq.InputError) as error:
        memory_kernel(TWO, fast, TWO_AT, DRIVE)
    assert len(error.value.findings) == len(findings)
    assert all(part in finding for part, finding in zip(findings, error.value.findings, strict=True))


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


@pytest.mark.parametrize(
    "subject", [memory_kernel, embedding, embedding_error, compare, prony], ids=lambda subject: subject.__name__
)
def test_the_examples_run(subject):
    tests = doctest.DocTestFinder().find(subject, globs=vars(memory))
    assert [doctest.DocTestRunner().run(test).failed for test in tests] == [0]
