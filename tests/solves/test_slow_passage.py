"""Fast parts that lose their stability on the way: an L-stable step damps what grows, and no error estimate sees it.

Rounding grows there by exp(integral of the real part); where that is 1e11 the solution has left, and a solve that
stayed says so.
"""

import ctypes

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.errors import Result
from uqbench.native.engine.hessenberg import DIMENSIONS, eigenvalues
from uqbench.native.library import compile_library


def model(initial, rhs, names, states, **options):
    space = uq.Space({name: uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)) for name in names})
    return uq.Model(
        space,
        uq.Ode(initial, rhs, **options),
        lambda y, p: {s: y[s] for s in states},
        units=dict.fromkeys(states, ""),
        noise={},
    )


def hopf(t, y, p, inputs):
    """A pair that oscillates at 5 / eps and loses stability at s = 0."""
    r = y["u"] ** 2 + y["v"] ** 2
    return {
        "u": (y["s"] * y["u"] - 5 * y["v"] + 0.3 - r * y["u"]) / p["eps"],
        "v": (5 * y["u"] + y["s"] * y["v"] - r * y["v"]) / p["eps"],
        "s": p["speed"],
    }


def from_stable(p, inputs):
    return {"u": 0.0, "v": 0.0, "s": -1.0}


@pytest.mark.parametrize("method", ["auto", "implicit"])
@pytest.mark.parametrize("eps", [1e-3, 1e-4, 1e-6])
def test_a_passage_through_a_hopf_point_is_not_success(eps, method):
    passing = model(from_stable, hopf, ["eps", "speed"], ["u", "v", "s"], method=method)
    theta = {"eps": eps, "speed": 1.0}
    run = uq.evaluate(passing, theta, uq.Design(np.array([0.5, 4.0])))
    assert int(run.result) == Result.UNSTABLE_BRANCH
    # before it the pair z = u + i v follows s: (s - |z|^2 + 5 i) z = -.3
    run = uq.evaluate(passing, theta, uq.Design(np.array([0.5])))
    assert int(run.result) == Result.SUCCESS
    z = 0.0
    for _ in range(20):
        z = -0.3 / (-0.5 - abs(z) ** 2 + 5j)
    # to first order in eps
    assert float(run.outputs["u"][0]) == pytest.approx(z.real, rel=2 * eps + 1e-5)


def test_instability_between_two_observations_is_seen():
    def rhs(t, y, p, inputs):
        return {
            "u": (y["s"] * y["u"] - 5 * y["v"] + 1.0) / p["eps"],
            "v": (5 * y["u"] + y["s"] * y["v"]) / p["eps"],
            "s": 0.5 * jnp.pi * jnp.cos(t),
        }

    def initial(p, inputs):
        return {"u": 0.0, "v": 0.0, "s": -0.7}

    # s goes from -.7 to .87 and back
    passing = model(initial, rhs, ["eps"], ["u"])
    for eps in (1e-3, 1e-4, 1e-5):
        run = uq.evaluate(passing, {"eps": eps}, uq.Design(np.array([0.1, 3.1])))
        assert int(run.result) in (Result.UNSTABLE_BRANCH, Result.BLOW_UP, Result.STEP_LIMIT)


@pytest.mark.parametrize("others", [8, 30])
def test_a_pair_among_other_fast_states_is_seen(others):
    rates = 10.0 ** np.linspace(0, 8, others)

    def rhs(t, y, p, inputs):
        change = hopf(t, y, p, inputs)
        total = sum(y[f"x{k}"] for k in range(others))
        change["u"] = change["u"] + (0.01 * total - 0.1 * y["u"]) / p["eps"]
        for k, rate in enumerate(rates):
            change[f"x{k}"] = rate * (0.5 * y["u"] - y[f"x{k}"])
        return change

    def initial(p, inputs):
        return from_stable(p, inputs) | {f"x{k}": 0.0 for k in range(others)}

    passing = model(initial, rhs, ["eps", "speed"], ["u"])
    run = uq.evaluate(passing, {"eps": 1e-4, "speed": 1.0}, uq.Design(np.array([4.0])))
    assert int(run.result) == Result.UNSTABLE_BRANCH


def test_a_batch_says_the_same_as_its_members():
    passing = model(from_stable, hopf, ["eps", "speed"], ["u", "v", "s"])
    eps, speed = 10.0 ** np.linspace(-5, -3, 16), np.linspace(0.1, 1.0, 16)
    design = uq.Design(np.array([0.5, 3.0]))
    many = uq.evaluate_many(passing, {"eps": jnp.asarray(eps), "speed": jnp.asarray(speed)}, design)
    alone = [int(uq.evaluate(passing, {"eps": e, "speed": s}, design).result) for e, s in zip(eps, speed, strict=True)]
    assert np.array_equal(np.asarray(many.result), alone)
    assert set(alone) == {Result.SUCCESS, Result.UNSTABLE_BRANCH}


def test_what_nothing_disturbs_stays():
    """No infected, and none will come: the unstable disease-free state is the solution."""

    def epidemic(t, y, p, inputs):
        infections = p["b"] * y["s"] * y["i"]
        return {"s": -infections, "i": infections - y["i"], "x": 1e5 * (y["s"] - y["x"]), "z": -p["d"] * y["z"]}

    def initial(p, inputs):
        return {"s": 1.0, "i": 0.0, "x": 1.0, "z": 1.0}

    quiet = model(initial, epidemic, ["b", "d"], ["s", "i", "x", "z"])
    run = uq.evaluate(quiet, {"b": 1e4, "d": 0.1}, uq.Design(np.array([10.0])))
    assert int(run.result) == Result.SUCCESS
    assert float(run.outputs["z"][0]) == pytest.approx(np.exp(-1.0), rel=1e-5)
    assert (float(run.outputs["s"][0]), float(run.outputs["i"][0])) == (1.0, 0.0)


def test_growth_that_steps_follow_is_no_matter():
    """Jumps of a relaxation oscillation magnify 1e7-fold, each of them in steps that follow it."""

    def rhs(t, y, p, inputs):
        return {"x": y["v"], "v": p["mu"] ** 2 * ((1 - y["x"] ** 2) * y["v"] - y["x"])}

    oscillator = model(lambda p, inputs: {"x": 2.0, "v": -0.66}, rhs, ["mu"], ["x"])
    run = uq.evaluate(oscillator, {"mu": 1e3}, uq.Design(np.linspace(0.5, 10.0, 20)))
    assert int(run.result) == Result.SUCCESS


@pytest.fixture(scope="module")
def found_eigenvalues():
    address = compile_library([eigenvalues], "eigenvalues").address("eigenvalues")
    pointer = ctypes.POINTER(ctypes.c_double)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, pointer, ctypes.c_int64, pointer)(address)

    def call(matrix):
        size = len(matrix)
        padded = np.zeros((DIMENSIONS, DIMENSIONS))
        padded[:size, :size] = matrix
        values = np.zeros((size, 2))
        assert function(padded.ctypes.data_as(pointer), size, values.ctypes.data_as(pointer)) == 1
        return values[:, 0] + 1j * values[:, 1]

    return call


@pytest.mark.parametrize("seed", range(20))
def test_eigenvalues_of_hessenberg_matrices(found_eigenvalues, seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, DIMENSIONS + 1))
    matrix = np.triu(rng.normal(size=(size, size)), -1) * 10.0 ** rng.uniform(-3, 3)
    if size > 3 and seed % 3 == 0:
        matrix[2, 1] = 0.0
    exact, found = np.linalg.eigvals(matrix), found_eigenvalues(matrix)
    for value in exact:
        nearest = np.argmin(abs(found - value))
        assert abs(found[nearest] - value) < 1e-9 * abs(matrix).max()
        found = np.delete(found, nearest)
