"""Spaces of other packages mean the same here: quantiles are compared with the packages' own, family by family."""

import chaospy
import numpy as np
import pytest
from SALib import ProblemSpec
from SALib.util import scale_samples

import uqbench as uq
from uqbench.decomposition.sobol import sobol_plan
from uqbench.interop import salib_groups, to_chaospy, to_salib

CUBE = np.random.default_rng(0).uniform(1e-6, 1 - 1e-6, size=(500, 1))

SALIB = {
    "unif": [-1.5, 4],
    "logunif": [1e-3, 20.0],
    "norm": [1.0, 2.5],
    "lognorm": [-0.5, 0.8],
    "truncnorm": [-1.0, 3.0, 0.5, 2.0],
    "weibull": [1.0, 3.0],
}
CHAOSPY = [
    (chaospy.Uniform(2, 4), uq.Uniform(2, 4)),
    (chaospy.Uniform(0, 1) + 3, uq.Uniform(3, 4)),
    (chaospy.Normal(1, 2), uq.Normal(1, 2)),
    (chaospy.LogNormal(0.3, 0.5), uq.LogNormal(0.3, 0.5)),
    (chaospy.LogNormal(0.3, 0.5, scale=2), uq.LogNormal(0.3 + np.log(2), 0.5)),
    (chaospy.Exponential(4), uq.Exponential(0.25)),
    (chaospy.Gamma(2, 0.5), uq.Gamma(2, 2)),
    (2 * chaospy.Gamma(2, 0.5), uq.Gamma(2, 1)),
    (chaospy.Beta(2, 3), uq.Beta(2, 3)),
    (chaospy.LogUniform(0, 2), uq.LogUniform(1, np.exp(2))),
    (chaospy.Reciprocal(1, 5), uq.LogUniform(1, 5)),
    (chaospy.TruncNormal(0, 2, 1, 0.5), uq.TruncatedNormal(1, 0.5, 0, 2)),
    (chaospy.TruncNormal(lower=0, sigma=3), uq.HalfNormal(3)),
    (chaospy.FoldedNormal(0, scale=2), uq.HalfNormal(2)),
    (chaospy.FoldedCauchy(0, scale=2), uq.HalfCauchy(2)),
    (chaospy.StudentT(4, 1, 2), uq.StudentT(4, 1, 2)),
    (chaospy.Cauchy(2, 1), uq.Cauchy(1, 2)),
    (chaospy.Laplace(1, 2), uq.Laplace(1, 2)),
]


def every_family() -> uq.Space:
    families = [
        uq.Uniform(1, 2),
        uq.LogUniform(1, 20),
        uq.Normal(1, 2),
        uq.LogNormal(median=3, sigma=2),
        uq.TruncatedNormal(0.5, 1, lower=0),
        uq.HalfNormal(2),
        uq.Exponential(0.3),
        uq.Gamma(mu=2, sigma=1),
        uq.Beta(2, 3),
        uq.StudentT(4, 1, 2),
        uq.Cauchy(1, 2),
        uq.Laplace(1, 2),
    ]
    return uq.Space({type(dist).__name__: uq.epistemic(dist) for dist in families} | {"fixed": uq.fixed(3.0)})


@pytest.mark.parametrize("dist", SALIB)
def test_quantiles_are_those_of_salib(dist):
    problem = {"num_vars": 1, "names": ["a"], "bounds": [SALIB[dist]], "dists": [dist]}
    space = uq.Space.from_salib(problem)
    assert space.epistemic == ("a",)
    theirs = scale_samples(CUBE.copy(), problem)[:, 0]
    np.testing.assert_allclose(space.from_cube(CUBE)["a"], theirs, rtol=1e-10, atol=1e-10)


def test_without_dists_all_are_uniform_and_a_problem_spec_will_do():
    spec = ProblemSpec({"names": ["a", "b"], "bounds": [[0, 1], [-2.0, 2]], "groups": ["g", "g"], "outputs": ["Y"]})
    before = dict(spec)
    assert [p.dist for p in uq.Space.from_salib(spec).values()] == [uq.Uniform(0, 1), uq.Uniform(-2, 2)]
    assert dict(spec) == before
    assert salib_groups(spec) == {"g": ("a", "b")}


def test_groups_of_a_problem_are_groups_of_a_plan():
    problem = {"names": ["a", "b", "c"], "bounds": [[0, 1]] * 3, "groups": ["x", "y", "x"]}
    plan = sobol_plan(uq.Space.from_salib(problem), 16, groups=salib_groups(problem))
    assert plan.groups == {"x": ("a", "c"), "y": ("b",)}
    assert salib_groups({"names": ["a", "b"], "groups": None}) == {"a": ("a",), "b": ("b",)}


def test_every_mistake_in_a_problem_is_named_at_once():
    problem = {
        "num_vars": 3,
        "names": ["a", "b", "c", "d", "e", "f", "f"],
        "bounds": [[2, 1], [0, 1, 0.5], [0, 1], [1, "x"], [0, 1, 2], [2, 3], [0, -1]],
        "dists": ["unif", "triang", "normal", "unif", "norm", "weibull", "norm"],
        "groups": ["g"],
    }
    with pytest.raises(uq.InputError) as caught:
        uq.Space.from_salib(problem)
    parts = [
        "'f' is there 2 times",
        "num_vars is 3",
        "1 groups for 7 names",
        "'a': 'unif' with {'lower': 2.0, 'upper': 1.0}",
        "'b': 'triang' with [0.0, 1.0, 0.5]: there is no triangular",
        "'normal' is unknown; did you mean 'norm'",
        "[1, 'x']",
        "'norm' takes [mean, standard deviation], but 3 numbers",
        "'f': 'weibull' with [2.0, 3.0]: of the Weibull family only",
        "sigma=-1.0 must be positive",
    ]
    for part in parts:
        assert part in str(caught.value)
    assert len(caught.value.findings) == len(parts)


@pytest.mark.parametrize(
    "problem, part",
    [
        (["a"], "it is a list; give a dict"),
        ({}, "there are no 'names'"),
        ({"names": ["a"]}, "there are no 'bounds'"),
        ({"names": ["a", "b"], "bounds": [[0, 1]]}, "there are 1 bounds for 2 names"),
        ({"names": ["a"], "bounds": [[0, 1]], "dists": ["unif", "unif"]}, "there are 2 dists for 1 names"),
    ],
)
def test_incomplete_problems(problem, part):
    with pytest.raises(uq.InputError, match=part):
        uq.Space.from_salib(problem)


@pytest.mark.parametrize("theirs, ours", CHAOSPY, ids=[str(theirs) for theirs, _ in CHAOSPY])
def test_chaospy_families(theirs, ours):
    space = uq.Space.from_chaospy(chaospy.J(theirs, chaospy.Uniform()), ["a", "b"])
    found = space["a"].dist
    assert type(found) is type(ours) and space.epistemic == ("a", "b")
    np.testing.assert_allclose(list(found.arguments.values()), list(ours.arguments.values()), rtol=1e-14)
    assert uq.Space.from_chaospy(theirs, "a")["a"].dist == found


def test_nested_and_identical_joints():
    joint = chaospy.J(chaospy.J(chaospy.Normal(), chaospy.Uniform()), chaospy.Iid(chaospy.Exponential(), 2))
    families = [type(p.dist).__name__ for p in uq.Space.from_chaospy(joint, list("abcd")).values()]
    assert families == ["Normal", "Uniform", "Exponential", "Exponential"]


@pytest.mark.parametrize(
    "dist, part",
    [
        (chaospy.Triangle(0, 0.3, 1), "has no counterpart here; give one of Uniform"),
        (chaospy.LogNormal(0, 1, shift=1), "with shift 1 and scale 1, which has no counterpart"),
        (chaospy.Beta(2, 3, 1, 5), "with shift 1 and scale 4"),
        (chaospy.Trunc(chaospy.Normal(), 0, 2), "use TruncNormal"),
        (-chaospy.Uniform(), "Negative"),
        (chaospy.Normal() * 2 + 1, "chaospy has no quantiles"),
        (chaospy.Binomial(5, 0.3), "has no counterpart"),
        (chaospy.Normal(chaospy.Uniform(), 1), "depends on another component"),
    ],
)
def test_chaospy_distributions_that_are_refused(dist, part):
    with pytest.raises(uq.InputError, match=part):
        uq.Space.from_chaospy(dist, ["a"])


def test_a_translation_that_does_not_hold_is_refused():
    class Uniform(chaospy.Uniform):
        def inv(self, u, **settings):
            return super().inv(u, **settings) ** 2

    with pytest.raises(uq.InputError, match=r"chaospy's quantiles of .* are not those of Uniform"):
        uq.Space.from_chaospy(Uniform(), ["a"])


def test_every_mistake_in_a_joint_is_named_at_once():
    shared = chaospy.Uniform()
    joint = chaospy.J(shared, shared + chaospy.Uniform(), chaospy.Triangle(), chaospy.Normal())
    with pytest.raises(uq.InputError) as caught:
        uq.Space.from_chaospy(joint, ["a", "b", "a"])
    text = str(caught.value)
    for part in ("3 names for 4 components", "'a' is there twice", "'b' depends on another", "Triangle"):
        assert part in text
    with pytest.raises(uq.InputError, match="is component 0 of MvNormal"):
        uq.Space.from_chaospy(chaospy.MvNormal([0, 0], [[1, 0.5], [0.5, 1]]), ["a", "b"])
    with pytest.raises(uq.InputError, match="it is a float"):
        uq.Space.from_chaospy(1.0, ["a"])


def test_round_trip_through_chaospy():
    space = every_family()
    joint = to_chaospy(space)
    u = np.random.default_rng(1).uniform(1e-4, 1 - 1e-4, size=(300, len(space.free)))
    ours = np.asarray(space.vector(space.from_cube(u)))
    np.testing.assert_allclose(ours, joint.inv(u.T).T, rtol=1e-9, atol=1e-9)
    back = uq.Space.from_chaospy(joint, space.free)
    assert [type(back[name].dist).__name__ for name in space.free] == list(space.free)
    np.testing.assert_allclose(back.vector(back.from_cube(u)), ours, rtol=1e-10, atol=1e-12)


def test_round_trip_through_salib():
    names = ["Uniform", "LogUniform", "Normal", "LogNormal", "TruncatedNormal", "HalfNormal", "Exponential"]
    space = uq.Space({name: every_family()[name] for name in names} | {"fixed": uq.fixed(1.0)})
    groups = {"g": names[1:], "h": names[:1]}
    problem = to_salib(space, groups=groups)
    u = np.random.default_rng(1).uniform(1e-6, 1 - 1e-6, size=(300, len(names)))
    theirs = scale_samples(u.copy(), dict(problem))
    ours = np.asarray(space.vector(space.from_cube(u)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    back = uq.Space.from_salib(problem)
    assert back.names == tuple(names)
    np.testing.assert_allclose(back.vector(back.from_cube(u)), ours, rtol=1e-13)
    assert salib_groups(problem) == {"h": tuple(names[:1]), "g": tuple(names[1:])}


@pytest.mark.parametrize("translate", [to_salib, to_chaospy])
def test_spaces_that_others_cannot_hold(translate):
    space = uq.Space(
        a=uq.epistemic(uq.HalfCauchy(1.0)),
        b=uq.epistemic(uq.Poisson(3.0)),
        c=uq.epistemic(uq.Normal("a", 1.0)),
    )
    with pytest.raises(uq.InputError) as caught:
        translate(space)
    assert len(caught.value.findings) == 3
    assert "'c' names 'a'" in str(caught.value) and "Poisson(mu=3)" in str(caught.value)
    with pytest.raises(uq.InputError, match="no free parameter"):
        translate(uq.Space(a=uq.fixed(1.0)))


def test_groups_for_salib_are_checked():
    space = uq.Space(a=uq.epistemic(uq.Uniform(0.0, 1.0)), b=uq.epistemic(uq.Uniform(0.0, 1.0)))
    with pytest.raises(uq.InputError) as caught:
        to_salib(space, groups={"g": ["a", "z"], "h": ["a"]})
    text = str(caught.value)
    assert "'a' is in 2 groups" in text and "'b' is in 0 groups" in text and "'z', which is no free" in text
