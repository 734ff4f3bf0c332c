import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from studies import two_scale_cascade
from uqbench.identifiability import fisher_information
from uqbench.identifiability.fisher import decomposed

TIMES_EARLY = np.linspace(0.1, 20.0, 20)
TIMES_LATE = np.linspace(2.0, 20.0, 20)


def cascade_initial(p, inputs):
    return {"x": p["g"] * p["kf"], "y": jnp.zeros(())}


def cascade_rhs(t, y, p, inputs):
    return {"x": -p["kf"] * y["x"], "y": y["x"] - p["ks"] * y["y"]}


def cascade_observe(y, p):
    return {"y": y["y"]}


def product(theta, design, key):
    return {"y": theta["k"] * theta["g"] * design.times}


def cascade_study(times):
    """Impulse response of H(s) = g kf / ((s + kf)(s + ks)) with known noise."""
    prior = uq.LogNormal(median=1.0, sigma=1.0)
    space = uq.Space(g=uq.epistemic(prior), kf=uq.epistemic(prior, "1/h"), ks=uq.epistemic(prior, "1/h"))
    model = uq.Model(
        space, uq.Ode(cascade_initial, cascade_rhs), cascade_observe, {"y": ""}, {"y": uq.Normal("y", 0.05)}
    )
    return uq.Study("cascade", model, {"a": uq.Design(times)})


def closed_form_matrix(times, g=2.0, kf=5.0, ks=0.2, sd=0.05):
    """Sum of gradients' outer products of y = g kf (e^{-ks t} - e^{-kf t}) / (kf - ks), in logarithms."""
    fast, slow = np.exp(-kf * times), np.exp(-ks * times)
    y = g * kf * (slow - fast) / (kf - ks)
    by_kf = y / kf - y / (kf - ks) + g * kf * times * fast / (kf - ks)
    by_ks = y / (kf - ks) - g * kf * times * slow / (kf - ks)
    jacobian = np.stack([y, kf * by_kf, ks * by_ks], axis=1)
    return jacobian.T @ jacobian / sd**2


@pytest.mark.parametrize("times", [TIMES_EARLY, TIMES_LATE])
def test_matrix_of_the_cascade_is_the_closed_form(times):
    result = fisher_information(cascade_study(times), {"g": 2.0, "kf": 5.0, "ks": 0.2})
    expected = closed_form_matrix(times)
    np.testing.assert_allclose(result.matrix, expected, rtol=1e-6, atol=1e-6 * expected.max())
    assert result.attrs["rank"] == 3


def test_a_late_design_loses_the_fast_rate_without_losing_rank():
    early = fisher_information(cascade_study(TIMES_EARLY), {"g": 2.0, "kf": 5.0, "ks": 0.2})
    late = fisher_information(cascade_study(TIMES_LATE), {"g": 2.0, "kf": 5.0, "ks": 0.2})
    assert early.attrs["condition"] == pytest.approx(np.linalg.cond(closed_form_matrix(TIMES_EARLY)), rel=1e-5)
    assert late.attrs["condition"] == pytest.approx(np.linalg.cond(closed_form_matrix(TIMES_LATE)), rel=1e-2)
    expected = np.sqrt(np.diag(np.linalg.inv(closed_form_matrix(TIMES_LATE))))
    np.testing.assert_allclose(late.cramer_rao, expected, rtol=1e-2)
    assert late.cramer_rao.sel(parameter="kf") > 100 * early.cramer_rao.sel(parameter="kf")


@pytest.mark.parametrize(
    "study, condition, errors, sloppy",
    [
        (two_scale_cascade.study, 37.410, (0.02687, 0.08765, 0.03641), []),
        (two_scale_cascade.late, 2.5696e7, (3.227, 78.4, 0.0502), ["about kf"]),
    ],
    ids=["early", "late"],
)
def test_the_shipped_cascade_has_the_figures_of_its_closed_form(study, condition, errors, sloppy):
    """g, kf, ks from .1 h and from 2 h on, to the digits that are given."""
    result = fisher_information(study, two_scale_cascade.truth)
    assert result.attrs["condition"] == pytest.approx(condition, rel=5e-5)
    np.testing.assert_allclose(result.cramer_rao, errors, rtol=1e-3)
    assert result.combination.values[result.kind == "sloppy"].tolist() == sloppy


def test_a_product_has_rank_one_and_its_null_direction():
    prior = uq.LogNormal(median=1.0, sigma=1.0)
    space = uq.Space(k=uq.epistemic(prior), g=uq.epistemic(prior))
    model = uq.Model.from_function(space, product, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    result = fisher_information(uq.Study("product", model, {"a": uq.Design([1.0, 2.0])}), {"k": 3.0, "g": 0.5})
    assert result.attrs["rank"] == 1
    direction = result.direction.isel(mode=-1).values
    np.testing.assert_allclose(np.abs(direction), 1 / np.sqrt(2), rtol=1e-6)
    assert direction[0] * direction[1] < 0
    assert np.all(np.isinf(result.cramer_rao))


def test_a_noise_parameter_is_not_lost(decay_study):
    result = fisher_information(decay_study, {"k": 0.5, "sigma": 0.2}, scale="natural")
    assert result.matrix.sel(parameter="sigma", parameter_="sigma") == pytest.approx(2 * 7 / 0.2**2)
    slope = (decay_study.data["time"] * decay_study.data["experiment"].map({"low": 2.0, "high": 4.0})
             * np.exp(-0.5 * decay_study.data["time"]))  # fmt: skip
    assert result.matrix.sel(parameter="k", parameter_="k") == pytest.approx(float((slope**2).sum() / 0.04), rel=1e-6)


def level(theta, design, key):
    return {"y": theta["a"] + 0 * design.times}


def test_population_information_of_a_random_intercept_is_the_closed_form():
    """y_ij = a_i + e_ij, a_i ~ N(m, w): information on m and w of a compound-symmetric normal."""
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 3.0)), w=uq.epistemic(uq.HalfNormal(1.0)), s=uq.epistemic(uq.HalfNormal(1.0)),
        a=uq.aleatory(uq.Normal("m", "w")),
    )  # fmt: skip
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", "s")})
    study = uq.Study("intercept", model, {f"u{i}": uq.Design(np.arange(1.0, 6.0)) for i in range(7)})
    w, s, n, units = 0.7, 0.4, 5, 7
    result = fisher_information(study, {"m": 1.0, "w": w, "s": s}, scale="natural")
    covariance = s**2 * np.eye(n) + w**2 * np.ones((n, n))
    inverse = np.linalg.inv(covariance)
    derivative = {"w": 2 * w * np.ones((n, n)), "s": 2 * s * np.eye(n)}
    expected = {("m", "m"): units * inverse.sum(), ("m", "w"): 0.0, ("m", "s"): 0.0}
    for i in "ws":
        for j in "ws":
            expected[i, j] = units / 2 * np.trace(inverse @ derivative[i] @ inverse @ derivative[j])
    for (i, j), value in expected.items():
        assert float(result.matrix.sel(parameter=i, parameter_=j)) == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_wrong_arguments_are_named(decay_study):
    with pytest.raises(uq.InputError) as caught:
        fisher_information(decay_study, {"kk": 1.0}, scale="decibel")
    assert "did you mean 'k'" in str(caught.value)
    assert "decibel" in str(caught.value)


def faint_initial(p, inputs):
    return {"x": jnp.ones(()), "z": jnp.zeros(())}


def faint_rhs(t, y, p, inputs):
    return {"x": -p["k"] * p["g"] * y["x"], "z": 1e-9 * p["c"] * y["x"] / (p["k"] * p["g"]) + 0.1 * p["d"]}


def faint_observe(y, p):
    return {"x": y["x"], "z": y["z"]}


def test_a_parameter_is_lost_only_by_its_own_share_in_the_null_space():
    """x = exp(-k g t) shows k g alone; c has an effect of 1e-9, which is little, and all its own."""
    prior = uq.LogNormal(median=1.0, sigma=1.0)
    names = ("k", "g", "c", "d")
    space = uq.Space({name: uq.epistemic(prior) for name in names})
    noise = {"x": uq.Normal("x", 0.1), "z": uq.Normal("z", 0.1)}
    model = uq.Model(space, uq.Ode(faint_initial, faint_rhs), faint_observe, {"x": "", "z": ""}, noise)
    times, theta = np.linspace(0.5, 8.0, 12), {"k": 0.8, "g": 0.5, "c": 2.0, "d": 3.0}
    result = fisher_information(uq.Study("faint", model, {"a": uq.Design(times)}), theta)
    rate = theta["k"] * theta["g"]
    fading = np.exp(-rate * times)
    # what k and g do to z is as little as what c does
    by_rate = np.concatenate([-rate * times * fading, np.zeros_like(times)])
    by_c = np.concatenate([np.zeros_like(times), 1e-9 * theta["c"] * (1 - fading) / rate**2])
    by_d = np.concatenate([np.zeros_like(times), 0.1 * theta["d"] * times])
    expected = 0.1 * np.linalg.norm(np.linalg.pinv(np.stack([by_rate, by_c, by_d], axis=1), rcond=1e-14), axis=1)
    assert result.attrs["rank"] == 3
    assert np.isinf(result.cramer_rao.sel(parameter=["k", "g"])).all()
    np.testing.assert_allclose(result.cramer_rao.sel(parameter=["c", "d"]), expected[1:], rtol=1e-4)
    np.testing.assert_allclose(np.abs(result.direction[-1]), [0.5**0.5, 0.5**0.5, 0, 0], atol=1e-6)
    assert result.eigenvalue[-1] == 0.0 and np.all(result.eigenvalue[:-1] > 0)


def test_a_finer_solve_tells_what_is_small_from_what_is_wrong():
    """The third column is that of the others but for 1e-6: real in the first case, the error of the solve else."""
    rng = np.random.default_rng(0)
    exact, bit = rng.normal(size=(20, 2)), rng.normal(size=20)

    def root(difference):
        return np.column_stack([exact, exact[:, 0] + difference * bit]) * [1e6, 1.0, 1e-3]

    size = np.ones(3)
    real = decomposed(root(1e-6), lambda: root(1e-6), size)
    wrong = decomposed(root(1e-6), lambda: root(1e-8), size)
    scaled = root(1e-6) / [1e6, 1.0, 1e-3]
    expected = np.linalg.norm(np.linalg.pinv(scaled, rcond=1e-12), axis=1) / [1e6, 1.0, 1e-3]
    assert real.rank == 3 and wrong.rank == 2
    np.testing.assert_allclose(real.cramer_rao, expected, rtol=1e-6)
    assert np.isinf(wrong.cramer_rao[[0, 2]]).all()
    assert wrong.cramer_rao[1] == pytest.approx(1 / np.linalg.norm(
        exact[:, 1] - exact[:, 0] * (exact[:, 0] @ exact[:, 1]) / (exact[:, 0] @ exact[:, 0])), rel=1e-4)  # fmt: skip


def test_a_parameter_that_cancels_is_lost_however_it_rounds():
    def cancels(theta, design, key):
        return {"y": theta["a"] * jnp.exp(jnp.log(theta["b"]) - jnp.log(theta["b"]) / 3 * 3) * design.times}

    prior = uq.LogNormal(median=1.3, sigma=1.0)
    space = uq.Space(a=uq.epistemic(prior), b=uq.epistemic(prior))
    model = uq.Model.from_function(space, cancels, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    result = fisher_information(uq.Study("cancels", model, {"a": uq.Design([1.0, 2.0])}), {"a": 1.3, "b": 0.7})
    assert result.attrs["rank"] == 1 and np.isinf(result.cramer_rao.sel(parameter="b"))
    assert float(result.cramer_rao.sel(parameter="a")) == pytest.approx(0.1 / (1.3 * 5**0.5), rel=1e-9)
