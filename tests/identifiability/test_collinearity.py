import numpy as np
import pytest

import uqbench as uq
from uqbench.identifiability import (
    best_subsets,
    collinearity_index,
    collinearity_indices,
    condition_indices,
    variance_decomposition,
)
from uqbench.identifiability.collinearity import ALL_SUBSETS


def test_two_columns_at_an_angle_have_the_closed_form():
    """Eigenvalues of the correlation matrix are 1 + c and 1 - c; lengths do not count."""
    angle = 0.3
    root = np.array([[1.0, np.cos(angle)], [0.0, np.sin(angle)]]) * [7.0, 1e-6]
    assert collinearity_index(root) == pytest.approx((1 - np.cos(angle)) ** -0.5, rel=1e-12)
    index, _ = variance_decomposition(root)
    np.testing.assert_allclose(index, [1.0, ((1 + np.cos(angle)) / (1 - np.cos(angle))) ** 0.5], rtol=1e-12)


def test_shares_of_the_variance_are_those_of_the_inverse():
    root = np.random.default_rng(0).normal(size=(9, 4)) @ np.diag([1.0, 1e3, 1e-2, 5.0])
    root[:, 3] += 400 * root[:, 0]
    index, proportion = variance_decomposition(root)
    scaled = root / np.linalg.norm(root, axis=0)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    by_mode = (vectors**2 / values).T[::-1]
    np.testing.assert_allclose(proportion, by_mode / np.diag(np.linalg.inv(scaled.T @ scaled)), rtol=1e-6)
    np.testing.assert_allclose(proportion.sum(axis=0), 1.0, rtol=1e-12)
    assert index[-1] > 100 and np.flatnonzero(proportion[-1] > 0.99).tolist() == [0, 3]


def test_what_depends_exactly_owes_all_its_variance_to_it():
    columns = np.random.default_rng(1).normal(size=(6, 2))
    root = np.column_stack([columns, 2 * columns[:, 0], np.zeros(6)])
    index, proportion = variance_decomposition(root)
    assert np.isinf(index[2:]).all() and np.isfinite(index[:2]).all()
    np.testing.assert_allclose(proportion[2:].sum(axis=0), [1.0, 0.0, 1.0, 1.0], atol=1e-12)
    assert np.isinf(collinearity_index(root[:, [0, 2]])) and np.isinf(collinearity_index(root[:, [1, 3]]))
    assert np.isinf(collinearity_index(root[:1, :2]))


def test_an_error_of_the_solve_is_no_independence():
    root = np.array([[1.0, 1.0], [0.0, 1e-5]])
    assert collinearity_index(root) == pytest.approx(2**0.5 * 1e5, rel=1e-6)
    assert np.isinf(collinearity_index(root, error=1e-4))


def test_the_best_subset_of_every_size_is_found():
    rng = np.random.default_rng(2)
    basis = rng.normal(size=(30, 3))
    # parameters 0 and 3, and 1 and 4, do nearly the same
    root = np.column_stack([basis, basis[:, 0] + 0.01 * rng.normal(size=30), basis[:, 1] + 0.01 * rng.normal(size=30)])
    found = best_subsets(root, limit=10.0)
    assert found.complete.all() and found.index[1] < 10.0 < found.index[2]
    members = set(np.flatnonzero(found.members[1]).tolist())
    assert 2 in members and len(members & {0, 3}) == 1 and len(members & {1, 4}) == 1
    # of ten pairs two are collinear; of triples the four with one of each, and 2 with neither pair
    assert found.below[:3].tolist() == [8, 4, 0]
    assert found.index[-1] == pytest.approx(collinearity_index(root), rel=1e-9)
    assert len(best_subsets(root, 10.0, largest=3).index) == 2


def test_of_many_parameters_sets_are_built_up_and_said_to_be():
    count = ALL_SUBSETS + 3
    root = np.random.default_rng(3).normal(size=(60, count))
    root[:, 1] = root[:, 0] + 1e-4 * root[:, 1]
    found = best_subsets(root, limit=10.0)
    assert found.complete[0] and not found.complete[1] and found.below[1] == -1
    assert np.all(found.members[1:].astype(int) - found.members[:-1] >= 0)
    assert found.index[-1] == pytest.approx(collinearity_index(root), rel=1e-9)
    # the dependent pair comes together last
    assert found.index[-2] < 10.0 < found.index[-1]


def test_of_a_study_the_largest_set_is_named():
    def terms(theta, design, key):
        t = design.times
        return {"y": theta["a"] * t + theta["b"] * (t + 1e-3 * t**2) + theta["c"] * jnp_exp(t) + 0.0 * theta["d"]}

    def jnp_exp(t):
        return 2.0 ** (-t)

    prior = uq.LogNormal(median=1.0, sigma=1.0)
    space = uq.Space({name: uq.epistemic(prior) for name in "abcd"})
    model = uq.Model.from_function(space, terms, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    study = uq.Study("terms", model, {"one": uq.Design(np.linspace(0.0, 4.0, 9))})
    result = collinearity_indices(study)
    assert float(result.pair_index.sel(parameter="a", parameter_="b")) > 100
    assert result.together.sel(parameter="c") and int(result.together.sum()) == 2
    assert not result.together.sel(parameter="d") and np.isinf(result.attrs["index"])
    dependent = condition_indices(study).dependent
    assert dependent.any("mode").values.tolist() == [True, True, False, False]


def test_wrong_settings_are_all_named(decay_study):
    with pytest.raises(uq.InputError) as caught:
        collinearity_indices(decay_study, {"kk": 1.0}, scale="decibel", limit=1.0, largest=1)
    assert len(caught.value.findings) == 4
