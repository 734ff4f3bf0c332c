"""Parameters of units integrated out: where model and variability are normal the integral is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import quad

import uqbench as uq
from uqbench.likelihoods import Marginal, modes, with_units
from uqbench.likelihoods.quadrature import grid

from .test_scores import central

TIMES = np.arange(4.0)


def mean(theta, design, key):
    return {"y": theta["level"] + theta["slope"] * design.times}


def mixed_study(units=5, seed=0):
    """y = level + slope t + error, a normal level and slope for each unit."""
    rng = np.random.default_rng(seed)
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 10.0)),
        s=uq.epistemic(uq.HalfNormal(5.0)),
        b=uq.epistemic(uq.Normal(0.0, 10.0)),
        w=uq.epistemic(uq.HalfNormal(5.0)),
        e=uq.epistemic(uq.HalfNormal(5.0)),
        level=uq.aleatory(uq.Normal("m", "s")),
        slope=uq.aleatory(uq.Normal("b", "w")),
    )
    model = uq.Model.from_function(space, mean, {"y": ""}, {"y": uq.Normal("y", "e")}, name="mixed")
    rows = [
        ("e", "y", t, value, unit)
        for unit in range(units)
        for level, slope in [(2 + rng.normal(), 0.5 + 0.3 * rng.normal())]
        for t, value in zip(TIMES, level + slope * TIMES + 0.2 * rng.normal(size=TIMES.size), strict=True)
    ]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    return uq.Study("mixed", model, {"e": uq.Design()}, data, unit="who")


NAMES = ("m", "s", "b", "w", "e")


def place(x):
    """Spreads in logarithms."""
    return {name: jnp.exp(x[k]) if name in "swe" else x[k] for k, name in enumerate(NAMES)}


def exact(study, x):
    """The multivariate normal density of each unit's rows."""
    m, s, b, w, e = (float(each) for each in place(np.asarray(x)).values())
    covariance = s**2 + w**2 * np.outer(TIMES, TIMES) + e**2 * np.eye(TIMES.size)
    values = study.data["value"].to_numpy().reshape(-1, TIMES.size)
    return float(stats.multivariate_normal(m + b * TIMES, covariance).logpdf(values).sum())


POINTS = [
    np.array([2.0, 0.0, 0.5, -1.2, -1.6]),
    np.array([-1.0, -1.0, 1.5, 0.5, 0.0]),
    # units hardly differ and are measured well: their latents are up to fifty standard deviations out
    np.array([2.0, -5.0, 0.5, -5.0, -4.0]),
]


@pytest.mark.parametrize("finer", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_linear_mixed_model_is_a_multivariate_normal(finer):
    study = mixed_study()
    likelihood = Marginal.of(study, finer)
    scores = jax.jit(lambda x: likelihood.scores(place, x))
    value = jax.jit(lambda x: likelihood.log_density(place(x)))
    slope = jax.jit(jax.grad(lambda x: likelihood.log_density(place(x))))
    for x in POINTS:
        expected, gradient = exact(study, x), central(lambda x: exact(study, x), x)
        found = scores(jnp.asarray(x))
        assert float(found.value) == pytest.approx(expected, rel=1e-9)
        assert float(value(x)) == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(found.gradient, gradient, rtol=1e-5, atol=1e-6 * np.max(np.abs(gradient)))
        np.testing.assert_allclose(slope(x), gradient, rtol=1e-5, atol=1e-6 * np.max(np.abs(gradient)))
        # never more than the information in one direction would allow
        assert np.all(np.linalg.eigvalsh(np.asarray(found.root.T @ found.root)) >= -1e-9)


def test_the_information_on_locations_is_that_of_the_mixed_model():
    """With errors as large as what differs between units: of what is measured better a least share is kept."""
    study = mixed_study(units=400)
    likelihood = Marginal.of(study)
    spreads = {name: jnp.ones(()) for name in "swe"}
    found = jax.jit(lambda x: likelihood.information(lambda x: {"m": x[0], "b": x[1], **spreads}, x)[0])
    covariance = 1.0 + np.outer(TIMES, TIMES) + np.eye(TIMES.size)
    design = np.stack([np.ones(TIMES.size), TIMES])
    expected = 400 * design @ np.linalg.solve(covariance, design.T)
    np.testing.assert_allclose(found(jnp.array([2.0, 0.5])), expected, rtol=1e-6)


def poisson_study(family):
    space = uq.Space(
        m=uq.epistemic(uq.LogNormal(0.0, 1.0)), s=uq.epistemic(uq.HalfNormal(1.0)), rate=uq.aleatory(family)
    )
    model = uq.Model.from_function(space, rate, {"n": ""}, {"n": uq.Poisson("n")}, name="counts")
    rows = [("e", "n", 0.0, float(count), unit) for unit, count in enumerate([3, 0, 7, 4])]
    return uq.Study(
        "counts", model, {"e": uq.Design()},
        pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"]), unit="who",
    )  # fmt: skip


def rate(theta, design, key):
    return {"n": theta["rate"] + 0 * design.times}


@pytest.mark.parametrize(
    "family, density",
    [
        pytest.param(
            uq.LogNormal(median="m", sigma="s"), lambda m, s: stats.lognorm(s, scale=m), marks=pytest.mark.slow
        ),
        (uq.Gamma("m", "s"), lambda m, s: stats.gamma(m, scale=1 / s)),
    ],
)
def test_integrals_that_are_not_normal(family, density):
    """Counts of a unit's own rate, against quadrature; of a Gamma rate it is a negative binomial distribution."""
    study, theta = poisson_study(family), {"m": 3.0, "s": 0.6}
    law = density(theta["m"], theta["s"])
    expected = [
        np.log(quad(lambda r, n=n: stats.poisson(r).pmf(n) * law.pdf(r), 0, np.inf)[0])
        for n in study.data["value"].astype(int)
    ]
    errors = []
    for finer in (False, True):
        found = jax.jit(Marginal.of(study, finer).by_unit)(theta)
        errors.append(np.max(np.abs(np.asarray(found) - expected)))
    assert errors[0] < 2e-3 and errors[1] < errors[0]
    if isinstance(family, uq.Gamma):
        n = study.data["value"].to_numpy()
        np.testing.assert_allclose(expected, stats.nbinom(3.0, 0.6 / 1.6).logpmf(n), rtol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("finer", [False, True])
def test_nodes_have_the_moments_of_the_normal_distribution(dimensions, finer):
    points, logs = grid(dimensions, finer)
    weights = np.exp(logs)
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(weights @ points, 0.0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("n,ni,nj->ij", weights, points, points), np.eye(dimensions), atol=1e-10)
    # what the two integrals share no node for would be compared with itself
    assert len(points) > len(grid(dimensions)[0]) or not finer


@pytest.mark.slow
def test_six_latents_have_the_slopes_of_their_spreads():
    """Six offsets at six times, one measurement of each: every row is normal with variance s^2 + e^2."""
    names = [f"o{k}" for k in range(6)]
    space = uq.Space(
        {"s": uq.epistemic(uq.HalfNormal(1.0)), **{name: uq.aleatory(uq.Normal(0.0, "s")) for name in names}}
    )

    def offsets(theta, design, key):
        chosen = jnp.stack([theta[name] for name in names])
        return {"y": chosen[design.times.astype(int)]}

    model = uq.Model.from_function(space, offsets, {"y": ""}, {"y": uq.Normal("y", 0.5)}, name="offsets")
    rng = np.random.default_rng(1)
    rows = [("e", "y", float(t), rng.normal(), who) for who, t in itertools.product("ab", range(6))]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    study = uq.Study("offsets", model, {"e": uq.Design()}, data, unit="who")
    likelihood = Marginal.of(study)
    scores = jax.jit(lambda x: likelihood.scores(lambda x: {"s": jnp.exp(x[0])}, x))(jnp.array([-0.3]))

    def density(x):
        return stats.norm(0, np.hypot(np.exp(x[0]), 0.5)).logpdf(data["value"]).sum()

    assert float(scores.value) == pytest.approx(density([-0.3]), rel=1e-9)
    np.testing.assert_allclose(scores.gradient, central(density, np.array([-0.3])), rtol=1e-6)


def test_latents_far_out_are_values_and_not_infinite():
    space = uq.Space(a=uq.aleatory(uq.Normal(1.0, 2.0)), b=uq.aleatory(uq.LogNormal(0.0, 0.1)))
    values = with_units(space, {}, jnp.array([[20.0, 20.0], [-20.0, -20.0]]))
    np.testing.assert_allclose(values["a"], [41.0, -39.0])
    np.testing.assert_allclose(values["b"], np.exp([2.0, -2.0]))


def test_a_likelihood_of_rows_that_depend_on_one_another_is_refused():
    from .test_protocol import Offsets

    study = mixed_study()
    with pytest.raises(uq.InputError, match="cannot be integrated out of a joint normal density"):
        Marginal.of(uq.Study("joint", study.model, study.experiments, study.data, unit="who", likelihood=Offsets.of))


def offset_study(values):
    """One measurement of each unit: what differs between units and the error cannot be told apart."""
    space = uq.Space(
        s=uq.epistemic(uq.HalfNormal(1.0)), e=uq.epistemic(uq.HalfNormal(1.0)), level=uq.aleatory(uq.Normal(0.0, "s"))
    )
    model = uq.Model.from_function(
        space, lambda theta, design, key: {"y": theta["level"] + 0 * design.times}, {"y": ""},
        {"y": uq.Normal("y", "e")}, name="offset",
    )  # fmt: skip
    rows = [("e", "y", 0.0, value, unit) for unit, value in enumerate(values)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    return uq.Study("offset", model, {"e": uq.Design()}, data, unit="who")


def test_the_information_is_zero_where_nothing_is_known():
    """Two spreads of which the data tell the sum of squares: an ascent's root is damped there, the information not."""
    s, e = 0.8, 0.6
    values = np.random.default_rng(0).standard_normal(200)
    values *= np.hypot(s, e) / np.sqrt(np.mean(values**2))
    likelihood = Marginal.of(offset_study(values))

    def place(x):
        return {"s": x[0], "e": x[1]}

    x = jnp.array([s, e])
    information = np.asarray(jax.jit(lambda x: likelihood.information(place, x)[0])(x))
    root = jax.jit(lambda x: likelihood.scores(place, x))(x).root
    flat, known = np.array([e, -s]), np.array([s, e])
    # s^2 + e^2 = 1 is a variance v, of whose logarithm n values have the information n / 2
    assert known @ information @ known >= 0.5 * 200
    assert flat @ information @ flat <= 1e-6 * (known @ information @ known)
    assert np.linalg.norm(root @ flat) > 0


def limited_study(steps):
    """Growth by a unit's rate, which more steps are needed for where it is fast."""
    space = uq.Space(m=uq.epistemic(uq.LogNormal(1.0, 1.0)), rate=uq.aleatory(uq.LogNormal(median="m", sigma=1.5)))
    system = uq.Ode(
        lambda p, inputs: {"C": jnp.ones(())},
        lambda t, y, p, inputs: {"C": -p["rate"] * (y["C"] - jnp.sin(p["rate"] * t))},
        rtol=1e-8,
        atol=1e-10,
        max_steps=steps,
    )
    model = uq.Model(space, system, lambda y, p: {"y": y["C"]}, {"y": ""}, {"y": uq.Normal("y", 2.0)}, name="limited")
    data = pd.DataFrame(
        [("e", "y", 5.0, 0.1, who) for who in "ab"], columns=["experiment", "output", "time", "value", "who"]
    )
    return uq.Study("limited", model, {"e": uq.Design()}, data, unit="who")


def test_solves_that_fail_at_nodes_that_count_are_a_finding():
    theta = {"m": jnp.array(1.0)}
    enough, few = (Marginal.of(limited_study(steps)) for steps in (100_000, 60))
    assert np.isfinite(float(jax.jit(enough.log_density)(theta)))
    assert not enough.density_findings(theta)
    score = jax.jit(lambda x: few.scores(lambda x: {"m": x[0]}, x))(jnp.array([1.0]))
    assert np.isneginf(float(score.value)) and not np.any(score.gradient)
    assert np.isneginf(float(jax.jit(few.log_density)(theta)))
    findings = few.density_findings(theta)
    assert len(findings) == 2 and "unit 'a'" in findings[0] and "cannot be integrated over" in findings[0]


def test_modes_are_found_in_few_steps_where_the_curvature_leaves_much_out(monkeypatch):
    # the curvature that is told is up to seven times too large: each of Newton's steps leaves six sevenths of the way
    shares = jnp.array([[0.15, 0.7], [0.3, 0.9], [1.0, 0.8]])
    places = jnp.array([[1.0, -0.6], [0.5, 0.8], [-0.3, 1.0]])

    def likelihood(z):
        """Together with standard normal latents as steep as log cosh on either side of the places."""
        away = z - places
        density = 0.5 * jnp.sum(z**2, axis=-1) - jnp.sum(jnp.log(jnp.cosh(away)), axis=-1)
        return density, z - jnp.tanh(away), jax.vmap(jnp.diag)(1.0 / shares - 1.0)

    monkeypatch.setattr(modes, "STEPS", 10)
    found, (density, _, _) = modes.highest(likelihood, jnp.zeros((3, 2)))
    np.testing.assert_allclose(density, likelihood(found)[0])
    monkeypatch.setattr(modes, "LONGEST", 0.0)
    plain, _ = modes.highest(likelihood, jnp.zeros((3, 2)))
    assert np.max(np.abs(found - places)) < 0.2 * np.max(np.abs(plain - places))
