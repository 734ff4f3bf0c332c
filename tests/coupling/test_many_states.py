"""Parts of many states: Chebyshev's steps, derivatives and predictions from products, amounts spread over grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench as uq
from uqbench.coupling import Aitken, Relaxation, Strong, Weak, linearisation
from uqbench.coupling.chebyshev import chebyshev_step, estimated_radius
from uqbench.coupling.implicit import as_fixed_point
from uqbench.coupling.integrators import integrate
from uqbench.coupling.linearisation import predict
from uqbench.coupling.spectra import largest

from . import random_systems

CELLS = 40


def diffusion(t, y, rate):
    flux = jnp.concatenate([jnp.zeros(1), -rate * jnp.diff(y), jnp.zeros(1)])
    return -jnp.diff(flux)


def test_steps_of_diffusion_are_of_second_order_whatever_their_length():
    waves = np.arange(CELLS)
    modes = np.cos(np.pi * np.outer(waves, np.arange(CELLS) + 0.5) / CELLS)
    start = jnp.asarray(modes[1] + 0.3 * modes[4])
    rate = 200.0

    def error(count):
        y, solved = integrate("chebyshev", diffusion, 0.0, start, 0.2, count, rate, radius=4 * rate)
        assert bool(solved)
        decay = np.exp(-rate * 0.2 * (2 - 2 * np.cos(np.pi * waves / CELLS)))
        return float(np.linalg.norm(y - (decay[1] * modes[1] + 0.3 * decay[4] * modes[4])))

    errors = [error(count) for count in (8, 16, 32)]
    # h times the largest eigenvalue is 20 to 5; explicit methods of two stages stop at 2
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.3)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2.0, abs=0.2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(1.0, 1e4))
def test_every_rate_up_to_the_radius_is_stable(seed, stiffness):
    rates = np.sort(np.random.default_rng(seed).uniform(0.0, stiffness, CELLS))
    y, solved = STEP(jnp.asarray(rates), stiffness)
    assert bool(solved)
    assert np.all(np.abs(y) <= 1 + 1e-12)


STEP = jax.jit(lambda rates, radius: chebyshev_step(lambda t, y, k: -k * y, 0.0, jnp.ones(CELLS), 1.0, rates, radius))


@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e5])
def test_the_estimated_radius_holds_the_spectrum(rate):
    largest_rate = rate * (2 - 2 * np.cos(np.pi * (CELLS - 1) / CELLS))
    bound = float(estimated_radius(diffusion, 0.0, jnp.zeros(CELLS), rate))
    assert largest_rate <= bound <= 1.25 * largest_rate


def swinging(t, y, given):
    """Diffusion, growth that saturates, a source that swings, and a turning of neighbours: spectra off the axis too."""
    rate, growth, turning = given
    return diffusion(t, y, rate) + growth * y * (1 - y) + jnp.cos(3 * t) * y[::-1] + turning * jnp.roll(y, 1)


@pytest.mark.parametrize("rate", [0.5, 50.0, 5e3, 1e6], ids="rate {}".format)
def test_stages_taken_back_give_the_derivatives_that_those_carried_forward_give(rate):
    weights = jnp.asarray(np.random.default_rng(1).normal(size=CELLS))
    start = jnp.asarray(np.random.default_rng(0).uniform(0.2, 1.0, CELLS))
    known = (jnp.asarray(0.3), start, jnp.asarray(0.2), (jnp.asarray(rate), jnp.asarray(2.0), jnp.asarray(0.7)))

    def end(known, kind):
        t, y, h, given = known
        return weights @ chebyshev_step(swinging, t, y, h, given, 4 * rate + 4.0, kind)[0]

    backward = jax.jit(jax.grad(lambda known: end(known, "checkpointed")))(known)
    forward = jax.jit(jax.jacfwd(lambda known: end(known, "lax")))(known)
    # 2, 9, 80 and 1140 stages, by whose number rounding grows
    jax.tree.map(lambda b, f: np.testing.assert_allclose(b, f, rtol=1e-8, atol=1e-10), backward, forward)
    assert end(known, "checkpointed") == end(known, "lax")


def pull_to(x, given):
    matrix, shift = given
    return matrix @ jnp.tanh(x) + shift


def test_a_fixed_point_of_many_numbers_moves_as_that_of_few():
    size = 80
    rng = np.random.default_rng(0)
    matrix = jnp.asarray(rng.normal(size=(size, size)) * 0.6 / np.sqrt(size))
    shift = jnp.asarray(rng.normal(size=size))
    x = shift
    for _ in range(400):
        x = pull_to(x, (matrix, shift))
    exact = np.linalg.inv(np.eye(size) - np.asarray(matrix) * (1 - np.tanh(np.asarray(x)) ** 2))

    def root(shift, kind):
        return as_fixed_point(pull_to, (matrix, shift), jax.lax.stop_gradient(x), kind)

    forward = jax.jit(jax.jacfwd(lambda shift: root(shift, "lax")))(shift)
    np.testing.assert_allclose(forward, exact, atol=1e-9)
    backward = jax.jit(jax.grad(lambda shift: jnp.sum(root(shift, "checkpointed") ** 2)))(shift)
    np.testing.assert_allclose(backward, 2 * np.asarray(x) @ exact, atol=1e-9)


def test_a_fixed_point_that_nothing_determines_has_no_derivative():
    size = 80

    def moved(a):
        # of x = x + a (0, 1, 2, ...) any x is a solution where a is 0
        return as_fixed_point(lambda x, a: x + a * jnp.arange(size), a, jnp.ones(size), "lax")

    assert np.all(np.isnan(jax.jacfwd(moved)(jnp.zeros(()))))


@pytest.mark.parametrize(
    "schedule",
    [
        Weak(0.1),
        pytest.param(Strong(0.1, Relaxation()), marks=pytest.mark.slow),
        pytest.param(Strong(0.1, Aitken()), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_predictions_from_products_are_those_from_matrices(schedule, monkeypatch):
    rng = np.random.default_rng(3)
    model = random_systems.model(schedule)
    for bent in (0.0, 1.0):
        design = uq.Design([2.0], inputs=random_systems.random_inputs(rng, bent, 5.0))
        given, times, states = model.dynamics.points(model, design)
        points = (given, times[::12], states[::12])
        exact = predict(model.dynamics, schedule, *points)
        with monkeypatch.context() as patch:
            patch.setattr(linearisation, "MANY", 0)
            patch.setattr(linearisation, "MANY_COLUMNS", 0)
            found = predict(model.dynamics, schedule, *points)
        assert found.growth == pytest.approx(exact.growth, rel=2e-3)
        assert found.exact_growth == pytest.approx(exact.exact_growth, rel=2e-3)
        assert (found.rate, found.plain_rate) == pytest.approx((exact.rate, exact.plain_rate), rel=2e-3)
        assert (found.solves, found.stable) == (exact.solves, exact.stable)


@pytest.mark.parametrize("size", [20, 300])
def test_eigenvalues_that_do_not_converge_are_estimated(size):
    """A matrix of one Jordan block, of which Arnoldi's method makes little."""
    matrix = np.diag(np.full(size, 0.5)) + np.diag(np.full(size - 1, 0.3), 1)
    assert 0.45 < largest(lambda v: matrix @ v, size, "LM") < 0.85
    assert largest(lambda v: v * np.nan, size, "LM") == np.inf


# --- amounts between grids, and what is shown

PLACES = 6


def empty(p, inputs):
    return {"u": jnp.zeros(PLACES)}


def still(t, y, p, inputs):
    return {"u": jnp.zeros(PLACES)}


def in_grid(y, p):
    return {"drug": 2.0 * jnp.sum(y["u"])}


def sources_of_drug(p, inputs):
    return {"a": jnp.array([3.0, 1.0])}


def resting(t, y, p, inputs):
    return {"a": jnp.zeros(2)}


def in_sources(y, p):
    return {"drug": jnp.sum(y["a"])}


def released(t, y, p, inputs):
    return p["k"] * (y["a"] - y["near"])


def near(y, p):
    return {"near": jnp.stack([y["u"][0], y["u"][-1]])}


def to_ends(amounts, y, p):
    return jnp.zeros(PLACES).at[jnp.array([0, -1])].set(amounts)


def to_few(amounts, y, p):
    return 0.99 * to_ends(amounts, y, p)


def to_one(amounts, y, p):
    return to_ends(amounts, y, p)[:3]


def squared(amounts, y, p):
    return to_ends(jnp.array([1.0, -1.0]) * amounts[0] * amounts[1] + amounts, y, p)


def jump(t, h, y, p, inputs, key):
    return {"a": jax.random.normal(key, (2,))}


SPACE = uq.Space(k=uq.epistemic(uq.LogNormal(0.0, 1.0), "1/h"))


def model(onto=to_ends, leap=None, schedule=None, **settings) -> uq.Model:
    units = {"drug": "mg"}
    parts = {
        "sources": uq.Part(sources_of_drug, resting, content=in_sources, units=units, leap=leap),
        "grid": uq.Part(empty, still, content=in_grid, units=units, shows=near, **settings),
    }
    out = uq.Exchange("drug", "mg/h", "sources.a", "grid.u", released, onto_target=onto)
    system = uq.Coupled(parts, {"out": out}, schedule or Weak(0.1), "h")
    return uq.Model(SPACE, system, units={"residual_drug": "mg", "residual_grid_drug": "mg", "u": "mg"},
                    dims={"u": ("time", "place")}, time_unit="h")  # fmt: skip


@pytest.mark.parametrize(
    "schedule", [pytest.param(Weak(0.1), marks=pytest.mark.slow), Weak(0.1, concurrent=True), Strong(0.1)], ids=repr
)
def test_what_is_spread_is_all_of_it(schedule):
    run = uq.evaluate(model(schedule=schedule), {"k": 0.7}, uq.Design([1.0, 50.0]))
    assert int(run.result) == 0
    # each source shares with its own place: a + 2 u is what it was, a = u in the end
    np.testing.assert_allclose(run.outputs["u"][-1, [0, -1]], [1.0, 1 / 3], rtol=1e-6)
    assert np.all(np.asarray(run.outputs["u"])[:, 1:-1] == 0)
    for name in ("residual_drug", "residual_grid_drug"):
        assert np.max(np.abs(run.outputs[name])) < 1e-14


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        ({"onto": to_few}, "of the amounts more or less than they are"),
        ({"onto": to_one}, r"has the shape \(3,\), 'u' has \(6,\)"),
        ({"onto": squared}, "not spread linearly"),
        ({"leap": jump}, "'a', which the content counts"),
    ],
)
def test_what_would_make_or_lose_is_refused(wrong, finding):
    with pytest.raises(uq.InputError, match=finding):
        uq.evaluate(model(**wrong), {"k": 0.7}, uq.Design([1.0]), jax.random.key(0))


def test_a_radius_that_nothing_uses_is_said():
    with pytest.raises(uq.InputError, match="`radius` is for the integrator 'chebyshev'"):
        uq.Part(empty, still, radius=near)
