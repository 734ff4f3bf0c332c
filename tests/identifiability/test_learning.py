"""Input-output equations with Lie derivatives: closed forms, and agreement with methods that share nothing with it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sympy
from flint import nmod_mat

import uqbench as uq
from forward_models import product_rate
from uqbench.identifiability import structural_identifiability
from uqbench.identifiability.budget import Budget, Undecided
from uqbench.identifiability.elimination.coefficients import Coefficients
from uqbench.identifiability.elimination.derivatives import lie_derivatives
from uqbench.identifiability.elimination.equations import Elimination
from uqbench.identifiability.elimination.reading import from_question
from uqbench.identifiability.elimination.shapes import coefficient_shapes, derivative_shapes
from uqbench.identifiability.fibres.coefficient_fibre import fibre_sample, from_sympy
from uqbench.identifiability.fibres.groebner import find_msolve
from uqbench.identifiability.fibres.taylor_fibre import global_identifiability, plan, random_prime
from uqbench.identifiability.learning import constant, learn
from uqbench.identifiability.rank import rank_test
from uqbench.identifiability.structural import pose

from .test_structural import PUBLISHED, from_strings, make, table

with_msolve = pytest.mark.skipif(find_msolve() is None, reason="msolve is not installed: no Groebner bases")


def exchanging(t, y, p, inputs):
    """Two compartments, one of which leaks."""
    return {"x": -(p["leak"] + p["out"]) * y["x"] + p["back"] * y["z"], "z": p["out"] * y["x"] - p["back"] * y["z"]}


def saturated(t, y, p, inputs):
    return {"x": -p["v"] * y["x"] / (p["K"] + y["x"]) + inputs["u"], "z": p["k"] * y["x"] - p["d"] * y["z"]}


def asked(model, varying=False):
    question = replace(pose("", model, None, "unknown"), varying=varying)
    outcome = rank_test(question, np.random.default_rng(3))
    return question, outcome, plan(question, outcome)


START = {"x": 1.0, "z": 1.0}
LEAKING = make("leak out back", exchanging, START, lambda y, p: {"o": y["x"]})
# only z is seen: v, K and k z-scale are not all known
HIDDEN = make("v K k d", saturated, START, lambda y, p: {"o": y["z"]})


@with_msolve
def test_two_compartments_without_input():
    """With x' + (leak + out) x = back z the outputs determine the sum, leak*back, x, and back*z up to what is known."""
    result = structural_identifiability(LEAKING, initial="unknown")
    assert table(result) == dict.fromkeys(["leak", "out", "back"], "none")
    assert result.attrs["generators_complete"]
    assert set(result.expression.values.tolist()) >= {"x", "back*leak", "back + leak + out"}
    assert result.sizes["generator"] == 4


@with_msolve
@pytest.mark.parametrize("model, varying", [(LEAKING, False), (HIDDEN, True), (HIDDEN, False)])
def test_states_are_decided_as_by_taylor_coefficients(model, varying):
    question, outcome, steps = asked(model, varying)
    learned = learn(question, steps, np.random.default_rng(0), Budget(20.0))
    assert learned.single and learned.explicit is not None
    other = global_identifiability(question, outcome, np.random.default_rng(1), Budget(20.0))
    assert other.reason == ""
    assert learned.verdicts == {name: other.verdicts[name] for name in steps.identifiable}
    assert learned.degree == other.degree


@with_msolve
@pytest.mark.parametrize("name", ["SEIR_1_io", "Bilirubin2_io", "SIAN/HIV", "Fujita"])
def test_published_states(name):
    question, outcome, steps = asked(from_strings(PUBLISHED[name]), varying=True)
    learned = learn(question, steps, np.random.default_rng(0), Budget(20.0))
    other = global_identifiability(question, outcome, np.random.default_rng(1), Budget(40.0))
    assert learned.verdicts == {key: other.verdicts[key] for key in steps.identifiable}


def test_derivatives_are_those_of_the_equations():
    """Against SymPy: the second derivative of z, with the input's own derivative in it."""
    question, _, _ = asked(HIDDEN, varying=True)
    rng = np.random.default_rng(0)
    prime = random_prime(rng)
    system = from_question(question, prime)
    pairs = lie_derivatives(system, rng, {"o": 2}, Budget(5.0))
    assert [name for name, _ in pairs] == ["o", "o", "o"]
    v, K, k, d, x, z, u = sympy.symbols("v K k d x z u")
    rate = {x: -v * x / (K + x) + u, z: k * x - d * z}
    expected = z
    for _ in range(2):
        expected = sum(sympy.diff(expected, state) * slope for state, slope in rate.items())
    numbers = dict(zip((v, K, k, d, x, z, u), (3, 5, 7, 11, 13, 17, 19), strict=True))
    value = sympy.Rational(expected.xreplace(numbers))
    names = {"u'0": 19, "u'1": 23} | {str(symbol): number for symbol, number in numbers.items()}
    above, below = (
        int(part(*(names[name] for name in part.context().names()))) if part.context().names() else int(part[()])
        for part in pairs[2][1]
    )
    assert (above * int(value.q) - below * int(value.p)) % prime == 0


def test_coefficients_on_the_points_of_an_algebra():
    """On the two points (a, b) and (b, a), symmetric coefficients have one value and others do not."""
    question, _, _ = asked(LEAKING)
    rng = np.random.default_rng(0)
    prime = random_prime(rng)
    system = from_question(question, prime)
    equation = Elimination(system, rng, Budget(5.0)).run()["o"]
    coefficients = Coefficients.of(equation.polynomial, system.parameters, system.ring)
    values = {"leak": 3, "out": 5, "back": 7}
    alone = coefficients.values(values)
    doubled = coefficients.at_points({name: np.eye(2, dtype=np.int64) * value for name, value in values.items()})
    np.testing.assert_array_equal(doubled[:, 0], alone)
    assert not doubled[:, 1].any()
    # x'' + (leak + out + back) x' + leak back x = 0: with leak <-> back and out fixed all stay the same
    truth = {"leak": 3, "back": 7, "out": 5, "x": 1, "z": 1}
    functions = [
        from_sympy(sympy.sympify(text), list(truth), prime) for text in ("leak + back", "leak*back", "x", "z", "out")
    ]
    sample = fibre_sample(functions, truth, prime, Budget(5.0)) if find_msolve() else None
    if sample is not None:
        assert sample.degree == 2 and constant(coefficients, sample, {})
        moved = replace(sample, matrices=sample.matrices | {"out": sample.matrices["leak"]})
        assert not constant(coefficients, moved, {})


def test_shapes_are_the_monomials_of_what_is_known():
    question, _, _ = asked(LEAKING)
    rng = np.random.default_rng(0)
    system = from_question(question, random_prime(rng))
    equations = Elimination(system, rng, Budget(5.0)).run()
    tables = [Coefficients.of(each.polynomial, system.parameters, system.ring) for each in equations.values()]
    names = ["leak", "out", "back", "x", "z"]
    assert list(coefficient_shapes(tables, names)) == [
        [(1, 0, 1, 0, 0)],
        [(0, 0, 1, 0, 0), (0, 1, 0, 0, 0), (1, 0, 0, 0, 0)],
    ]
    pairs = [pair for _, pair in lie_derivatives(system, rng, {"o": 1}, Budget(5.0))]
    assert list(derivative_shapes(pairs, names))[-1] == [(0, 0, 1, 0, 1), (0, 1, 0, 1, 0), (1, 0, 0, 1, 0)]


def test_work_that_would_not_end_in_time_is_not_begun():
    Budget(10.0).check(1000)
    with pytest.raises(Undecided, match="time budget"):
        Budget(10.0).check(10**12)


# what the user can do with it ----------------------------------------------------------------------------------------


@with_msolve
def test_a_suggestion_can_be_applied():
    result = structural_identifiability(product_rate.model)
    suggestion = json.loads(result.attrs["suggestion"])
    assert suggestion == {"g_k": "g*k"}
    new = product_rate.model.reparametrised(suggestion)
    assert table(structural_identifiability(new))["g_k"] == "global"
    old = product_rate.model
    design = uq.Design([1.0, 2.0], inputs={"stimulus": 3.0})
    theta = {name: np.asarray(value) for name, value in old.space.nominal().items()}
    first = uq.evaluate(old, theta, design).outputs["y"]
    both = {name: value for name, value in theta.items() if name in new.space}
    second = uq.evaluate(new, {**both, "g_k": theta["g"] * theta["k"]}, design).outputs["y"]
    np.testing.assert_allclose(first, second, rtol=1e-9)


@with_msolve
def test_nothing_is_suggested_where_all_is_known():
    known = make("k", lambda t, y, p, i: {"y": -p["k"] * y["y"]}, {"y": 1.0})
    assert json.loads(structural_identifiability(known).attrs["suggestion"]) == {}


def test_transfer_functions_come_with_the_structure():
    from studies.two_scale_cascade import study

    found = json.loads(uq.identify(study)["structure"].attrs["transfer"])
    assert found["poles"] == ["- kf", "- ks"]
    assert found["coefficients"] == {
        "denominator s^1": "kf + ks",
        "denominator s^0": "kf*ks",
        "numerator s^0": "g*impulse*kf",
    }
    assert found["fixed_by"]["kf"] == ["denominator s^1", "denominator s^0"]


def test_matrix_of_another_field_is_not_needed():
    """The images of one under a multiplication matrix: companion matrix of t^2 - 5 t + 6, whose roots are 2 and 3."""
    prime = 2**31 - 1
    t = np.array([[0, prime - 6], [1, 5]], dtype=np.int64)
    keys, exponents, numbers = [(0,), (1,)], np.array([[2], [1]]), np.array([1, 1])
    coefficients = Coefficients(("y",), keys, ("a",), exponents, numbers, np.array([0, 1, 2]), prime)
    square = nmod_mat(2, 2, t.ravel().tolist(), prime) ** 2
    images = coefficients.at_points({"a": t})
    assert images[0].tolist() == [int(square[0, 0]), int(square[1, 0])]
    assert images[1].tolist() == [0, 1]
