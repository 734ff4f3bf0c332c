"""What spreads from one place over many: states that start at exact zeros and are fed one by another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import gammainc, gammaln, ive

import uqbench as uq

from .problems import DERIVATIVES, model, slopes, solved

TIMES = np.array([1.0, 10.0, 30.0, 60.0])


def line(count, reaction, **settings):
    """Diffusion between neighbours on a line of `count` cells, all of it in the first one at the start."""

    def rhs(t, y, p, inputs):
        u = [y[f"u{k}"] for k in range(count)]
        around = [(u[max(k - 1, 0)], u[min(k + 1, count - 1)]) for k in range(count)]
        return {
            f"u{k}": p["D"] * (left - 2 * u[k] + right) + reaction(u[k], p) for k, (left, right) in enumerate(around)
        }

    def initial(p, inputs):
        return {f"u{k}": 1.0 if k == 0 else 0.0 for k in range(count)}

    return model(initial, rhs, {"D": 1.0, "r": 1.0}, [f"u{k}" for k in range(count)], **settings)


def spread_by_diffusion(count, D):
    """`(times, count)`: Bessel functions, by reflection at both ends."""
    k = np.arange(count)
    images = [ive(np.abs(k - 2 * count * m), 2 * D * TIMES[:, None]) for m in range(-2, 3)]
    mirrored = [ive(np.abs(k + 1 + 2 * count * m), 2 * D * TIMES[:, None]) for m in range(-2, 3)]
    return np.sum(images + mirrored, axis=0)


def nothing(u, p):
    return 0.0 * p["r"] * u


def largest_difference(found, right):
    """By cell, relative to its largest value: that of the last ones is 1e-84."""
    return np.max(np.abs(found - right) / np.max(np.abs(right), axis=0))


@pytest.mark.parametrize("D", [0.1, 1.0, 10.0])
def test_diffusion_over_a_hundred_cells(D):
    run = uq.evaluate(line(100, nothing), {"D": D, "r": 1.0}, uq.Design(TIMES))
    assert run.result == 0
    found = np.stack([*run.outputs.values()], axis=-1)
    assert largest_difference(found, spread_by_diffusion(100, D)) < 1e-6
    # a solve that follows every value from 1e-300 on takes 12 000
    assert run.steps < 3000


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] * (way == "reverse")) for way in DERIVATIVES]
)
def test_slopes_of_diffusion(way):
    found = slopes(line(60, nothing), {"D": 1.0, "r": 1.0}, uq.Design(TIMES), ("D",), way)
    assert found.result == 0
    step = 1e-5
    right = (spread_by_diffusion(60, 1 + step) - spread_by_diffusion(60, 1 - step)) / (2 * step)
    assert largest_difference(found.derivatives[..., 0], right) < 1e-5


def test_a_front_that_is_pulled_by_what_grows_ahead_of_it():
    """Fisher 1937: every cell grows from what little reaches it, so that little has to be right."""
    count, D = 50, 0.3

    def rhs(t, u):
        return D * (np.r_[u[:1], u[:-1]] - 2 * u + np.r_[u[1:], u[-1:]]) + u * (1 - u)

    start = np.r_[1.0, np.zeros(count - 1)]
    right = solve_ivp(rhs, (0, TIMES[-1]), start, "LSODA", TIMES, rtol=1e-11, atol=1e-90).y.T
    found = solved(line(count, lambda u, p: p["r"] * u * (1 - u)), {"D": D, "r": 1.0}, uq.Design(TIMES))
    assert largest_difference(found, right) < 1e-6


def test_what_grows_at_the_end_of_a_chain():
    """Its first values are far below all that counts later, and it multiplies their errors."""
    count, rate, growth = 40, 1.0, 1.0

    def rhs(t, y, p, inputs):
        chain = [y[f"y{k}"] for k in range(count)]
        fed = {f"y{k}": p["a"] * (chain[k - 1] - chain[k] if k else -chain[0]) for k in range(count)}
        return {**fed, "z": p["a"] * chain[-1] + p["g"] * y["z"]}

    def initial(p, inputs):
        return {f"y{k}": 1.0 if k == 0 else 0.0 for k in range(count)} | {"z": 0.0}

    chained = model(initial, rhs, {"a": rate, "g": growth}, [*(f"y{k}" for k in range(count)), "z"])
    found = solved(chained, {"a": rate, "g": growth}, uq.Design(TIMES))
    k = np.arange(count)
    fed = np.exp(k * np.log(rate * TIMES[:, None]) - rate * TIMES[:, None] - gammaln(k + 1))
    grown = np.exp(growth * TIMES) * (rate / (rate + growth)) ** count * gammainc(count, (rate + growth) * TIMES)
    assert largest_difference(found, np.column_stack([fed, grown])) < 1e-6


def test_fronts_side_by_side_are_those_alone():
    spreading = line(40, lambda u, p: p["r"] * u * (1 - u))
    thetas = {"D": jnp.geomspace(0.1, 10.0, 11), "r": jnp.geomspace(2.0, 0.1, 11)}
    many = uq.evaluate_many(spreading, thetas, uq.Design(TIMES))
    for k in range(11):
        alone = uq.evaluate(spreading, jax.tree.map(lambda v, k=k: v[k], thetas), uq.Design(TIMES))
        assert many.result[k] == alone.result == 0
        for name, values in alone.outputs.items():
            assert np.array_equal(many.outputs[name][k], values)


def test_doses_into_a_chain_of_empty_compartments():
    """The first steps after a dose are as short as the rounding of its time."""
    count, rate, dose_times, amounts = 50, 3.0, np.array([1.0, 2.0, 7.0]), np.array([1.0, 2.0, 0.5])

    def rhs(t, y, p, inputs):
        return {f"x{k}": p["k"] * ((y[f"x{k - 1}"] if k else 0.0) - y[f"x{k}"]) for k in range(count)}

    transit = model(
        lambda p, inputs: {f"x{k}": 0.0 for k in range(count)},
        rhs,
        {"k": rate},
        [f"x{k}" for k in range(count)],
        doses=lambda p, inputs: {"x0": (jnp.asarray(dose_times), jnp.asarray(amounts))},
    )
    times = np.array([0.5, 1.5, 4.0, 10.0, 20.0, 40.0])
    passed, k = rate * np.maximum(times[:, None, None] - dose_times, 1e-300), np.arange(count)[:, None]
    right = np.sum(
        amounts * (times[:, None, None] > dose_times) * np.exp(k * np.log(passed) - passed - gammaln(k + 1)), -1
    )
    assert largest_difference(solved(transit, {"k": rate}, uq.Design(times)), right) < 1e-6
