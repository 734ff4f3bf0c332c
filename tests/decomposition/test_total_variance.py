"""The split of variance against closed forms, and above all the coverage of its intervals."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from uqbench import InputError
from uqbench.decomposition.total_variance import optimal_replicates, total_variance

REPETITIONS = 400


def secretion(n, r, repetitions, generator):
    """C = (s / k) q with s log-normal (epistemic), q normal (aleatory), k = 0.5; repetitions are the outputs."""
    s = np.exp(0.3 * generator.standard_normal((n, 1, repetitions)))
    return s / 0.5 * (10 + 2 * generator.standard_normal((n, r, repetitions)))


def secretion_parts():
    square = np.exp(2 * 0.3**2)
    return 400 * (square - np.exp(0.3**2)), 16 * square


def birth_death(n, r, repetitions, generator):
    """Stationary copy number: Poisson around k / g, both log-normal."""
    log_rate = np.sqrt(0.3**2 + 0.2**2) * generator.standard_normal((n, 1, repetitions))
    return generator.poisson(20 * np.exp(log_rate), (n, r, repetitions)).astype(float)


def birth_death_parts():
    v = 0.3**2 + 0.2**2
    return 400 * np.exp(v) * np.expm1(v), 20 * np.exp(v / 2)


def weak(n, r, repetitions, generator):
    """2 % of the variance is epistemic; most intervals touch 0."""
    return np.sqrt(0.02) * generator.standard_normal((n, 1, repetitions)) + np.sqrt(0.98) * generator.standard_normal(
        (n, r, repetitions)
    )


CASES = {
    "secretion": (secretion, secretion_parts()),
    "birth_death": (birth_death, birth_death_parts()),
    "weak": (weak, (0.02, 0.98)),
}


def test_closed_forms_of_the_cases():
    np.testing.assert_allclose(secretion_parts(), (41.2172317666, 19.1554778099), rtol=1e-10)
    np.testing.assert_allclose(birth_death_parts(), (63.240681336459986, 21.343180487683853), rtol=1e-14)


@pytest.mark.parametrize("n, r", [(200, 2), (200, 10), (1000, 4)])
@pytest.mark.parametrize("case", CASES)
def test_coverage_and_bias(case, n, r):
    make, (epistemic, aleatory) = CASES[case]
    generator = np.random.default_rng(2026)
    # A new set of resamples for each batch, since repetitions with the same one do not err independently.
    found = xr.concat(
        [total_variance(make(n, r, REPETITIONS // 4, generator), resamples=500, seed=seed) for seed in range(4)],
        "output",
    )
    truth = {"epistemic": epistemic, "aleatory": aleatory, "total": epistemic + aleatory}
    truth |= {"epistemic_share": epistemic / truth["total"], "aleatory_share": aleatory / truth["total"]}
    for name, value in truth.items():
        inside = float(((found[f"{name}_lower"] <= value) & (value <= found[f"{name}_upper"])).mean())
        # 93 to 97 %, and 2.5 standard errors of a binomial of 400 (0.027) on either side.
        assert 0.903 <= inside <= 0.997, (name, inside)
        away = float(found[name].mean()) - value
        tolerance = 4 * float(found[name].std()) / np.sqrt(REPETITIONS)
        if not name.endswith("share"):  # a ratio of unbiased estimates is not unbiased
            assert abs(away) <= tolerance, (name, away, tolerance)


def test_plain_variance_of_means_would_be_wrong():
    """Why there is a correction: at two replicates the variance of the means doubles a small epistemic part and
    more."""
    y = weak(2000, 2, 20, np.random.default_rng(0))
    assert y.mean(axis=1).var(axis=0, ddof=1).mean() > 20 * 0.02
    assert abs(float(total_variance(y, resamples=100).epistemic.mean()) - 0.02) < 0.02


def test_anova_by_hand():
    y = np.random.default_rng(0).gamma(2.0, size=(12, 3)) * np.arange(1, 13)[:, None]
    found = total_variance(y, resamples=200)
    within = y.var(axis=1, ddof=1).mean()
    assert float(found.aleatory) == pytest.approx(within)
    assert float(found.epistemic) == pytest.approx(y.mean(axis=1).var(ddof=1) - within / 3)
    assert float(found.aleatory_standard_error) == pytest.approx(y.var(axis=1, ddof=1).std(ddof=1) / np.sqrt(12))


def test_standard_errors_are_the_spread_over_repetitions():
    found = total_variance(birth_death(1000, 4, 300, np.random.default_rng(5)), resamples=50, seed=0)
    for name in ("epistemic", "aleatory", "total", "epistemic_share"):
        assert float(found[f"{name}_standard_error"].mean()) == pytest.approx(float(found[name].std()), rel=0.2)


def test_measurement_part_is_exact_where_the_noise_is():
    generator = np.random.default_rng(1)
    y = secretion(400, 4, 200, generator)
    plain, constant = total_variance(y), total_variance(y, measurement_variance=2.5)
    np.testing.assert_allclose(constant.measurement, 2.5, rtol=1e-12)
    np.testing.assert_array_equal(constant.measurement_standard_error, 0.0)
    np.testing.assert_allclose(constant.total, plain.total + 2.5)
    np.testing.assert_allclose(constant.total_standard_error, plain.total_standard_error)
    relative = total_variance(y, measurement_variance=(0.1 * y) ** 2)
    expected = 0.01 * (sum(secretion_parts()) + (20 * np.exp(0.045)) ** 2)
    inside = (relative.measurement_lower < expected) & (expected < relative.measurement_upper)
    assert float(inside.mean()) > 0.88  # 0.95 less 4.5 standard errors of a binomial of 200
    assert abs(float(relative.measurement.mean()) - expected) < 4 * float(relative.measurement.std()) / np.sqrt(200)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(8, 40),
    r=st.integers(2, 5),
    shift=st.floats(-1e3, 1e3),
    scale=st.floats(1e-4, 1e4),
    seed=st.integers(0, 9),
)
def test_properties(n, r, shift, scale, seed):
    generator = np.random.default_rng(seed)
    y = generator.gamma(3.0, size=(n, 1)) + generator.standard_normal((n, r))
    noise = generator.random((n, r))
    found = total_variance(y, measurement_variance=noise, resamples=60)
    parts = [found[name] for name in ("epistemic", "aleatory", "measurement")]
    np.testing.assert_allclose(sum(parts), found.total)
    np.testing.assert_allclose(sum(found[f"{part.name}_share"] for part in parts), 1.0)
    assert all(found[f"{name}_lower"] <= found[f"{name}_upper"] for name in ("epistemic", "aleatory", "total"))
    moved = total_variance(shift + scale * y, measurement_variance=noise * scale**2, resamples=60)
    order = generator.permutation(r)
    permuted = total_variance(y[:, order], measurement_variance=noise[:, order], resamples=60)
    for name in found.drop_vars("reason").data_vars:
        unit = 1.0 if "share" in name or name.startswith("n_") else scale**2
        np.testing.assert_allclose(moved[name], unit * found[name], rtol=1e-6, atol=1e-8 * unit * float(found.total))
        np.testing.assert_allclose(permuted[name], found[name], rtol=1e-9, atol=1e-12)


def test_axes_labels_and_seed():
    y = np.random.default_rng(0).standard_normal((3, 20, 5, 2)) + np.arange(20)[:, None, None]
    labelled = xr.DataArray(y, dims=("replicate", "draw", "time", "output"), coords={"time": np.arange(5.0)})
    found = total_variance(labelled, sample_axis=1, replicate_axis=0)
    assert found.epistemic.dims == ("time", "output") and found.time.values.tolist() == [0, 1, 2, 3, 4]
    moved = total_variance(np.moveaxis(y, 0, -1), sample_axis=0, replicate_axis=-1)
    np.testing.assert_allclose(found.epistemic_upper, moved.epistemic_upper, rtol=1e-10)
    assert found.identical(total_variance(labelled, sample_axis=1, replicate_axis=0, seed=0))
    assert not found.equals(total_variance(labelled, sample_axis=1, replicate_axis=0, seed=1))
    single = total_variance(y[:, :, 3, 1], sample_axis=1, replicate_axis=0)
    np.testing.assert_allclose(found.total_lower[3, 1], single.total_lower, rtol=1e-10)


def test_deterministic_model_has_no_aleatory_part():
    found = total_variance(np.repeat(np.random.default_rng(0).standard_normal((50, 1)), 2, axis=1))
    assert [float(found[f"aleatory{end}"]) for end in ("", "_standard_error", "_lower", "_upper")] == [0, 0, 0, 0]
    assert float(found.epistemic_share) == 1.0


def test_failed_runs_are_left_out_and_counted():
    y = secretion(200, 3, 1, np.random.default_rng(0))[..., 0]
    y[:5, 0] = np.nan  # five draws with two runs left
    y[5:15, :2] = np.nan  # ten draws with one run left: dropped
    found = total_variance(y)
    assert int(found.n_valid) == 190 and int(found.n_runs) == 5 * 2 + 185 * 3
    kept = np.delete(y, np.arange(5, 15), axis=0)
    assert float(found.aleatory) == pytest.approx(np.nanvar(kept, axis=1, ddof=1).mean())


def test_unequal_numbers_of_runs_stay_unbiased():
    generator = np.random.default_rng(7)
    y = weak(2000, 4, 50, generator)
    y[:1000, 2:] = np.nan
    found = total_variance(y, resamples=50).epistemic
    assert abs(float(found.mean()) - 0.02) < 4 * float(found.std()) / np.sqrt(50)


def test_optimal_replicates_minimises_the_error():
    """Against the measured error of the epistemic part at 1200 runs, Gaussian with ratio 4."""
    assert optimal_replicates(1.0, 4.0) == 5
    assert optimal_replicates(1.0, 0.1) == 2
    generator, error = np.random.default_rng(0), {}
    for r in (2, 5, 30):
        y = generator.standard_normal((1200 // r, 1, 800)) + 2 * generator.standard_normal((1200 // r, r, 800))
        error[r] = float((y.mean(axis=1).var(axis=0, ddof=1) - y.var(axis=1, ddof=1).mean(axis=0) / r).std())
    assert error[5] < error[2] and error[5] < error[30]
    theory = np.sqrt(2 / 1200 * (5 + 2 * 4 + 4**2 / 4))
    assert error[5] == pytest.approx(theory, rel=0.1)
    with pytest.raises(InputError, match="must be positive"):
        optimal_replicates(-0.1, 4.0)


def infinite_and_constant():
    y = np.random.default_rng(0).standard_normal((20, 3, 3))
    y[1, 1, 0], y[..., 2] = np.inf, 1.5
    return y


def test_each_output_by_itself():
    """An output without a variance is NaN with its reason; the others are what they are alone."""
    y = infinite_and_constant()
    found = total_variance(y, measurement_variance=0.5)
    assert [text.split(",")[0] for text in found.reason.values] == [
        "some of its runs are infinite",
        "",
        "every run gives the same value",
    ]
    alone = total_variance(y[..., 1], measurement_variance=0.5)
    for name in alone.drop_vars(["reason", "n_valid", "n_runs"]).data_vars:
        np.testing.assert_allclose(found[name], [np.nan, float(alone[name]), np.nan], rtol=1e-12)


@pytest.mark.parametrize(
    "y, options, parts",
    [
        (np.zeros((4, 1)), {}, ["1 replicate", "at least twice", "4 parameter draws", "at least 8"]),
        (np.zeros(10), {}, ["shape (10,)", "repeat each draw"]),
        (np.zeros((10, 4)), {"replicate_axis": 0}, ["two different axes"]),
        (
            infinite_and_constant()[..., ::2],
            {},
            ["{'output': 0}: 1 infinite", "{'output': 1}: every run gives the same"],
        ),
        (np.where(np.arange(60).reshape(20, 3) < 30, np.nan, np.arange(60).reshape(20, 3)), {}, ["10 of 20 draws"]),
        (np.eye(10), {"measurement_variance": np.ones(3)}, ["shape (3,)", "one number, or one per run"]),
        (np.eye(10), {"measurement_variance": -1.0}, ["negative or not finite at 100"]),
        (np.eye(10), {"confidence": 2.0, "max_failed": -1}, ["confidence is 2.0", "max_failed is -1"]),
        (np.eye(10), {"resamples": 10}, ["needs a whole number >= 40"]),
        (np.array([["a", "b"]] * 9), {}, ["give real numbers"]),
    ],
)
def test_bad_input(y, options, parts):
    with pytest.raises(InputError) as error:
        total_variance(y, **options)
    for part in parts:
        assert part in str(error.value)
