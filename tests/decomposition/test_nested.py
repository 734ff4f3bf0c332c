"""Nested sources against closed forms: bias, coverage, failed runs, and the two-level case."""

import numpy as np
import pytest
import xarray as xr

from uqbench import InputError
from uqbench.decomposition.nested import nested_variance
from uqbench.decomposition.total_variance import total_variance

SOURCES = ("parameters", "subjects", "intrinsic")
REPETITIONS = 400


def gaussian(n, m, r, repetitions, generator, parts=(2.0, 1.0, 4.0)):
    a, b, c = np.sqrt(parts)
    return (
        a * generator.standard_normal((n, 1, 1, repetitions))
        + b * generator.standard_normal((n, m, 1, repetitions))
        + c * generator.standard_normal((n, m, r, repetitions))
    )


def counts(n, m, r, repetitions, generator):
    """Copy numbers: Poisson around a rate that is log-normal over parameters and, within them, over cells."""
    rate = 20 * np.exp(
        0.3 * generator.standard_normal((n, 1, 1, repetitions))
        + 0.4 * generator.standard_normal((n, m, 1, repetitions))
    )
    return generator.poisson(rate, (n, m, r, repetitions)).astype(float)


def count_parts():
    mean = 20 * np.exp((0.3**2 + 0.4**2) / 2)
    between = mean**2 * np.expm1(0.3**2)
    return between, mean**2 * np.exp(0.3**2) * np.expm1(0.4**2), mean


CASES = {"gaussian": (gaussian, (2.0, 1.0, 4.0)), "counts": (counts, count_parts())}


@pytest.mark.parametrize("case", CASES)
def test_bias_and_coverage(case):
    make, truth = CASES[case]
    generator = np.random.default_rng(7)
    found = xr.concat(
        [nested_variance(make(150, 4, 3, REPETITIONS // 4, generator), SOURCES, resamples=400, seed=seed)
         for seed in range(4)], "output",
    )  # fmt: skip
    for name, value in (("variance", np.array(truth)), ("share", np.array(truth) / sum(truth))):
        inside = (value >= found[f"{name}_lower"].T) & (value <= found[f"{name}_upper"].T)
        # 95 % less the 2 % that the bootstrap may be off, and 2.5 standard errors of a binomial of 400
        assert (inside.mean("output") >= 0.903).all() and (inside.mean("output") <= 0.997).all(), (
            name,
            inside.mean("output"),
        )
    error = found.variance.std("output", ddof=1) / np.sqrt(REPETITIONS)
    assert (np.abs(found.variance.mean("output") - np.array(truth)) < 4 * error).all()
    assert float(found.variance_standard_error.mean() / found.variance.std("output", ddof=1).mean()) == pytest.approx(
        1, rel=0.15
    )


def test_two_levels_are_the_law_of_total_variance():
    y = np.random.default_rng(0).normal(size=(60, 1)) + np.random.default_rng(1).normal(size=(60, 5))
    two, nested = total_variance(y, resamples=100), nested_variance(y, ["epistemic", "aleatory"], resamples=100)
    for name in ("epistemic", "aleatory"):
        part = nested.sel(source=name)
        assert float(part.variance) == pytest.approx(float(two[name]), rel=1e-12)
        assert float(part.variance_lower) == pytest.approx(float(two[f"{name}_lower"]), rel=1e-9)
        assert float(part.share_upper) == pytest.approx(float(two[f"{name}_share_upper"]), rel=1e-9)


def test_a_source_without_effect_has_an_interval_at_zero():
    y = gaussian(200, 3, 3, 200, np.random.default_rng(3), parts=(1.0, 0.0, 1.0))
    found = nested_variance(y, SOURCES, resamples=300).sel(source="subjects")
    assert float((found.variance_lower == 0).mean()) > 0.9
    # an estimate far below zero leaves only zero
    assert float((found.variance_upper > 0).mean()) > 0.95


def test_failed_runs_leave_the_rest_unbiased():
    generator = np.random.default_rng(5)
    y = gaussian(200, 5, 4, 100, generator)
    y[generator.random(y.shape) < 0.1] = np.nan
    y[3, 2] = np.nan
    found = nested_variance(y, SOURCES, resamples=50)
    error = found.variance.std("output", ddof=1) / 10
    assert (np.abs(found.variance.mean("output") - np.array([2.0, 1.0, 4.0])) < 4 * error).all()
    assert (found.n_valid == 200).all()


def test_measurement_is_a_source_of_its_own():
    y = gaussian(100, 3, 3, 1, np.random.default_rng(2))[..., 0]
    found = nested_variance(y, SOURCES, measurement_variance=0.5, resamples=50)
    assert found.source.values.tolist() == [*SOURCES, "measurement"]
    assert float(found.variance.sel(source="measurement")) == pytest.approx(0.5)
    assert float(found.variance.sum() - found.total) == pytest.approx(0.0, abs=1e-12)
    assert float(found.share.sum()) == pytest.approx(1.0)


def test_bad_input():
    y = np.ones((5, 1, 3))
    wrong = r"'parameters' has 5 draws.*\n.*'subjects' has 1 draw;.*needs at least 2"
    with pytest.raises(InputError, match=wrong):
        nested_variance(y, SOURCES)
    with pytest.raises(InputError, match="one axis for each of the 4 sources"):
        nested_variance(np.ones((20, 3, 2)), [*SOURCES, "channel"])
    with pytest.raises(InputError, match="two different names"):
        nested_variance(np.ones((20, 3)), ["a", "a"])
    with pytest.raises(InputError, match="same value"):
        nested_variance(np.ones((20, 3, 2)), SOURCES)
    with pytest.raises(InputError, match="measurement_variance"):
        nested_variance(np.random.default_rng(0).random((20, 3, 2)), SOURCES, measurement_variance=-1.0)
