import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench as uq
from uqbench.space import _family_method


def hierarchy():
    return uq.Space(
        median=uq.epistemic(uq.LogNormal(0.0, 1.0), "1/h"),
        sd=uq.epistemic(uq.HalfNormal(1.0)),
        ka=uq.aleatory(uq.LogNormal(median="median", sigma="sd"), "1/h"),
        dose=uq.fixed(4.0, "mg"),
    )


def test_roles_and_order():
    space = hierarchy()
    assert space.names == ("median", "sd", "ka", "dose")
    assert space.free == ("median", "sd", "ka")
    assert (space.epistemic, space.aleatory, space.fixed) == (("median", "sd"), ("ka",), ("dose",))
    assert uq.Space(dict(space)).names == space.names
    assert space.only("epistemic").names == ("median", "sd")


@settings(max_examples=15)
@given(st.lists(st.floats(1e-6, 1 - 1e-6), min_size=3, max_size=3))
def test_cube_is_inverted_by_the_conditional_distribution(u):
    space = hierarchy()
    theta = space.from_cube(jnp.array(u))
    back = [float(space[name].dist.cdf(theta[name], theta)) for name in space.free]
    np.testing.assert_allclose(back, u, rtol=1e-8, atol=1e-10)


def test_vector_and_theta_are_inverse():
    space = hierarchy()
    theta = space.sample(jax.random.key(0), (5,))
    vector = space.vector(theta)
    assert vector.shape == (5, 3)
    np.testing.assert_array_equal(space.theta(vector)["ka"], theta["ka"])
    assert float(space.theta(vector)["dose"]) == 4.0


def test_values_are_double_precision_arrays():
    theta = hierarchy().nominal()
    assert all(value.dtype == jnp.float64 for value in theta.values())
    assert float(theta["median"]) == pytest.approx(1.0)


def test_log_prior_is_the_sum_of_log_densities():
    space = hierarchy()
    theta = space.complete({"median": 1.2, "sd": 0.4, "ka": [1.0, 2.0]})
    parts = [space[n].dist.logpdf(theta[n], theta).sum() for n in space.free]
    assert float(space.log_prior(theta)) == pytest.approx(float(sum(parts)))


def test_every_mistake_is_named_at_once():
    with pytest.raises(uq.InputError) as caught:
        uq.Space(
            a=uq.epistemic(uq.Normal("b", 1.0), "mg"),
            b=uq.epistemic(uq.Normal("missing", 1.0), "nonsense_unit"),
            c=uq.aleatory(uq.Normal("a", 1.0)),
            d=uq.epistemic(uq.Normal("c", 1.0)),
            e=uq.Parameter(uq.Normal(0.0, 1.0), "", "random"),
            f=uq.Parameter(1.0, "", "epistemic"),
        )
    text = str(caught.value)
    for part in (
        "'a' names 'b', which comes later",
        "'missing', which does not exist",
        "nonsense_unit",
        "differs between units",
        "role 'random'",
        "'f' is epistemic but has no distribution",
    ):
        assert part in text
    assert len(caught.value.findings) == 6


def test_missing_and_unknown_values_are_named():
    with pytest.raises(uq.InputError, match="'sd' has no value") as caught:
        hierarchy().complete({"median": 1.0, "kaa": 1.0})
    assert "did you mean 'ka'" in str(caught.value)


def test_quantiles_are_compiled_for_a_family_not_for_its_members_nor_for_each_number_of_points():
    spaces = [
        uq.Space({f"x{i}": uq.epistemic(uq.LogNormal(0.1 * i, 1.0)) for i in range(count)}) for count in (40, 160)
    ]
    before = _family_method._cache_size()
    for space in spaces:
        u = np.random.default_rng(0).random((70, len(space)))
        for rows in (70, 71, 128):
            theta = space.from_cube(np.resize(u, (rows, len(space))))
            assert {value.shape for value in theta.values()} == {(rows,)}
        for i in (0, 7, len(space) - 1):
            expected = scipy.stats.lognorm(1.0, scale=np.exp(0.1 * i)).ppf(u[:, i])
            np.testing.assert_allclose(space.from_cube(u)[f"x{i}"], expected, rtol=1e-12)
    # one for each number of members, 128 rows
    assert _family_method._cache_size() == before + 2


def test_points_keep_their_shape_inside_and_outside_of_a_trace():
    space = hierarchy()
    u = np.random.default_rng(0).random((3, 4, 3))
    outside, inside = space.from_cube(u), jax.jit(space.from_cube)(u)
    for name in space.names:
        assert outside[name].shape == (3, 4) and outside[name].dtype == jnp.float64
        np.testing.assert_allclose(outside[name], inside[name], rtol=1e-12)
        np.testing.assert_allclose(space.from_cube(u[1, 2])[name], outside[name][1, 2], rtol=1e-12)
    density, probability = space.conditional_laws(outside)
    np.testing.assert_allclose(probability, u, rtol=1e-9)
    np.testing.assert_allclose(density[..., 2], space["ka"].dist.logpdf(outside["ka"], outside), rtol=1e-12)
    fixed = uq.Space(a=uq.fixed(2.0))
    assert fixed.from_cube(np.zeros((5, 0)))["a"].tolist() == [2.0] * 5 and float(fixed.nominal()["a"]) == 2.0


def test_nominal_values_move_the_medians_that_name_them():
    space = uq.Space(
        m=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)),
        x=uq.aleatory(uq.LogNormal(median="m", sigma=0.3)),
    )
    begun = space.starting_at({"m": 4.0})
    assert {name: float(value) for name, value in begun.nominal().items()} == pytest.approx({"m": 4.0, "x": 4.0})
    assert float(space.nominal()["x"]) == pytest.approx(1.0)
    again = pickle.loads(pickle.dumps(begun))
    assert float(again.nominal()["m"]) == pytest.approx(4.0)


def test_nominal_values_that_no_parameter_can_have_are_all_named():
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)), c=uq.fixed(1.0))
    with pytest.raises(uq.InputError) as raised:
        space.starting_at({"k": "a", "c": 2.0, "z": 1.0})
    assert len(raised.value.findings) == 3
    with pytest.raises(uq.InputError, match="no density"):
        space.starting_at({"k": -1.0})


def test_new_units_are_drawn_given_the_others():
    space = uq.Space(
        m=uq.epistemic(uq.LogNormal(median=1.0, sigma=1.0)),
        first=uq.aleatory(uq.LogNormal(median="m", sigma=0.5)),
        second=uq.aleatory(uq.Normal("2*first", 0.1)),
        third=uq.aleatory(uq.Normal(0.0, 1.0)),
    )
    medians = np.array([[0.1], [1.0], [30.0]])
    found = space.new_units(jax.random.key(0), {"m": medians}, (3, 4000))
    assert set(found) == {"first", "second", "third"}
    z = np.log(np.asarray(found["first"]) / medians) / 0.5
    rest = (np.asarray(found["second"]) - 2 * np.asarray(found["first"])) / 0.1
    for each in (*z, *rest, *np.asarray(found["third"])):
        assert scipy.stats.kstest(each, "norm").pvalue > 1e-3
    # neither of one another nor of the row
    apart = np.corrcoef([*z, *rest, *np.asarray(found["third"])]) - np.eye(9)
    assert np.abs(apart).max() < 5 / np.sqrt(4000)
