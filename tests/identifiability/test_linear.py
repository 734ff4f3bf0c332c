"""Transfer functions against closed forms, and their verdicts against the general test."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from forward_models import product_rate, receptor_tf, secretion, theophylline, two_compartments, two_scale_cascade
from uqbench import (
    Design,
    InputError,
    LogNormal,
    Model,
    Normal,
    Ode,
    Space,
    Study,
    epistemic,
    evaluate,
    fixed,
    identify,
)
from uqbench.identifiability import structural_identifiability
from uqbench.identifiability.coefficient_map import CoefficientMap
from uqbench.identifiability.linear import linear_identifiability, transfer_function

PRIOR = epistemic(LogNormal(0.0, 1.0))


def make(names, rhs, initial, observe, outputs="y", **settings):
    return Model(Space(dict.fromkeys(names.split(), PRIOR)), Ode(initial, rhs, **settings), observe,
                 dict.fromkeys(outputs.split(), ""))  # fmt: skip


def dosed(p, inputs):
    return {"x": inputs["dose"], "u": jnp.zeros(()), "v": jnp.zeros(())}


def plasma(y, p):
    return {"y": y["x"] / p["V"]}


def mammillary(t, y, p, inputs):
    first, second = p["k12"] * y["x"] - p["k21"] * y["u"], p["k13"] * y["x"] - p["k31"] * y["v"]
    return {"x": -p["k10"] * y["x"] - first - second, "u": first, "v": second}


def catenary(t, y, p, inputs):
    first, second = p["k12"] * y["x"] - p["k21"] * y["u"], p["k23"] * y["u"] - p["k32"] * y["v"]
    return {"x": -p["k10"] * y["x"] - first, "u": first - second, "v": second}


def leaky(t, y, p, inputs):
    first, second = p["k12"] * y["x"] - p["k21"] * y["u"], p["k13"] * y["x"] - p["k31"] * y["v"]
    return {"x": -p["k10"] * y["x"] - first - second, "u": first - p["k20"] * y["u"], "v": second}


MAMMILLARY = make("k10 k12 k21 k13 k31 V", mammillary, dosed, plasma)
CATENARY = make("k10 k12 k21 k23 k32 V", catenary, dosed, plasma)
LEAKY = make("k10 k12 k21 k13 k31 k20 V", leaky, dosed, plasma)

# name -> (model, verdict and number of values by parameter, alternatives by parameter)
SYSTEMS = {
    "cascade": (
        two_scale_cascade.model, {"g": ("local", 2), "kf": ("local", 2), "ks": ("local", 2)},
        {"g": "g*kf/ks", "kf": "ks", "ks": "kf"},
    ),
    "cascade with known gain": (two_scale_cascade.known_gain, {"kf": ("global", 1), "ks": ("global", 1)}, {}),
    "flip-flop": (
        theophylline.model, {"ka": ("local", 2), "CL": ("global", 1), "V": ("local", 2)}, {"ka": "CL/V", "V": "CL/ka"},
    ),
    "secretion": (secretion.model, {"s": ("none", 0), "q": ("none", 0)}, {}),
    "product": (product_rate.model, {"k": ("none", 0), "g": ("none", 0)}, {}),
    "two compartments": (two_compartments.model, dict.fromkeys(("C0", "k10", "k12", "k21"), ("global", 1)), {}),
    "mammillary": (
        MAMMILLARY, {"k10": ("global", 1), "k12": ("local", 2), "k21": ("local", 2), "k13": ("local", 2),
                     "k31": ("local", 2), "V": ("global", 1)},
        {"k12": "k13", "k13": "k12", "k21": "k31", "k31": "k21"},
    ),
    "catenary": (CATENARY, dict.fromkeys(("k10", "k12", "k21", "k23", "k32", "V"), ("global", 1)), {}),
}  # fmt: skip


def by_parameter(result, *fields):
    columns = [result[field].values.tolist() for field in fields]
    return dict(zip(result.parameter.values.tolist(), zip(*columns, strict=True), strict=True))


@pytest.mark.parametrize("name", SYSTEMS)
def test_verdicts(name):
    model, expected, alternatives = SYSTEMS[name]
    result = linear_identifiability(model)
    assert by_parameter(result, "verdict", "values") == expected
    found = {key: text for key, (text,) in by_parameter(result, "alternatives").items() if text}
    assert found == alternatives
    assert result.attrs["failure_probability"] < 1e-12


@pytest.mark.parametrize("name", [*SYSTEMS, "leaky"])
def test_verdicts_are_those_of_the_general_test(name):
    """All of them where it decides, which needs msolve for some; at least the rank and the verdict none elsewhere."""
    model = LEAKY if name == "leaky" else SYSTEMS[name][0]
    linear, general = linear_identifiability(model), structural_identifiability(model)
    assert linear.parameter.values.tolist() == general.unknown.values.tolist()
    assert linear.attrs["rank"] == general.attrs["rank"]
    for parameter in linear.parameter.values:
        verdicts = [str(result.verdict.sel(parameter=parameter).item()) for result in (linear, general)]
        assert (verdicts[0] == "none") == (verdicts[1] == "none"), parameter
        assert verdicts[1] in (verdicts[0], "undecided"), parameter


@pytest.mark.parametrize("start", [0.1 * 3, 1 / 3])
def test_a_start_that_is_no_short_fraction(start):
    """x' = -k x, u' = k x - d u from x = 0.1 * 3, a fraction of large numbers in binary: both rates are known."""

    def chain(t, y, p, inputs):
        return {"x": -p["k"] * y["x"], "u": p["k"] * y["x"] - p["d"] * y["u"]}

    model = make(
        "k d", chain, lambda p, inputs: {"x": jnp.asarray(start), "u": jnp.zeros(())}, lambda y, p: {"y": y["u"]}
    )
    assert by_parameter(linear_identifiability(model), "verdict") == {"k": ("global",), "d": ("global",)}
    structure = identify(Study("chain", model, {"a": Design([1.0, 2.0])}))["structure"]
    assert set(json.loads(structure.attrs["transfer"])["fixed_by"]) == {"k", "d"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_which_coefficients_fix_a_parameter(name):
    """The same as beside the verdicts, without counting values."""
    system = transfer_function(SYSTEMS[name][0])
    functions = CoefficientMap(system.coefficients, system.parameters, system.known)
    found, fixed = functions.verdicts(), functions.fixed_by()
    for parameter, row in zip(found.parameter.values.tolist(), found.fixed_by.values, strict=True):
        assert fixed.get(parameter, []) == found.coefficient.values[row].tolist()
    assert bool(fixed) == ("local" in found.verdict.values or "global" in found.verdict.values)


@pytest.mark.parametrize("seed", range(6))
def test_random_compartments_agree_with_the_general_test(seed):
    """Three compartments with random exchanges, losses and places of dose and measurement."""
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    edges = [pairs[k] for k in sorted(rng.choice(6, size=3, replace=False))]
    losses = sorted(rng.choice(3, size=rng.integers(1, 3), replace=False).tolist())
    names = [f"k{i}{j}" for i, j in edges] + [f"e{i}" for i in losses] + ["V"]
    given, seen = rng.integers(0, 3, size=2)

    def rhs(t, y, p, inputs):
        out = dict.fromkeys("abc", 0.0)
        for i, j in edges:
            flow = p[f"k{i}{j}"] * y["abc"[i]]
            out["abc"[i]], out["abc"[j]] = out["abc"[i]] - flow, out["abc"[j]] + flow
        for i in losses:
            out["abc"[i]] = out["abc"[i]] - p[f"e{i}"] * y["abc"[i]]
        return {name: value + 0.0 * y[name] for name, value in out.items()}

    def initial(p, inputs):
        return {name: inputs["dose"] * float("abc"[given] == name) for name in "abc"}

    model = make(" ".join(names), rhs, initial, lambda y, p: {"y": y["abc"[seen]] / p["V"]})
    linear, general = linear_identifiability(model), structural_identifiability(model)
    assert linear.attrs["rank"] == general.attrs["rank"]
    free = {parameter: verdict == "none" for parameter, (verdict,) in by_parameter(linear, "verdict").items()}
    assert free == {parameter: general.verdict.sel(parameter=parameter).item() == "none" for parameter in free}


def test_the_cascade_in_numbers():
    """SYSTEMS.md, section E: with kf = 5, ks = .2, g = 2 the denominator is s^2 + 5.2 s + 1."""
    function = transfer_function(two_scale_cascade.model)["y", "impulse"]
    values = {"kf": sympy.Integer(5), "ks": sympy.Rational(1, 5), "g": sympy.Integer(2)}
    assert [c.subs(values) for c in function.denominator] == [1, sympy.Rational(26, 5), 1]
    assert [c.subs(values) for c in function.numerator] == [10]
    g, kf, ks = sympy.symbols("g kf ks")
    assert function.poles == {-kf: 1, -ks: 1}
    assert sympy.cancel(function.expression - g * kf / (function.variable + kf) / (function.variable + ks)) == 0


def test_which_coefficients_fix_what():
    def fixed_by(result, parameter):
        return result.coefficient.values[result.fixed_by.sel(parameter=parameter)].tolist()

    result = linear_identifiability(two_scale_cascade.model)
    both = ["denominator s^1", "denominator s^0"]
    assert {name: fixed_by(result, name) for name in result.parameter.values} == {
        "g": [*both, "numerator s^0"],
        "kf": both,
        "ks": both,
    }
    result = linear_identifiability(two_compartments.model)
    assert fixed_by(result, "k21") == ["numerator s^1", "numerator s^0"]


def test_solutions_are_the_swap():
    solutions = linear_identifiability(two_scale_cascade.model).attrs["solutions"]
    assert solutions == ["g = g, kf = kf, ks = ks", "g = g*kf/ks, kf = ks, ks = kf"]


def test_the_swap_gives_the_same_numbers():
    design = Design.linspace(0.0, 20.0, 40, inputs={"impulse": 1.0})
    theta, swapped = {"g": 2.0, "kf": 5.0, "ks": 0.2}, {"g": 2.0 * 5.0 / 0.2, "kf": 0.2, "ks": 5.0}
    y, z = (evaluate(two_scale_cascade.model, values, design).outputs["y"] for values in (theta, swapped))
    np.testing.assert_allclose(y, z, atol=1e-7)


def test_response_is_the_laplace_transform():
    """The transform at s of the simulated output, by quadrature."""
    theta = {"C0": 3.0, "k10": 1.5, "k12": 1.0, "k21": 0.5}
    model = Model(Space(dict.fromkeys(theta, PRIOR)), Ode(two_compartments.initial, two_compartments.rhs),
                  two_compartments.observe, {"concentration": ""})  # fmt: skip
    function = transfer_function(model).response["concentration"]
    nodes, weights = np.polynomial.laguerre.laggauss(40)
    for s in (1.0, 2.5):
        outputs = evaluate(model, theta, Design(nodes / s)).outputs["concentration"]
        exact = float(function.expression.subs({**theta, function.variable: s}))
        assert float(weights @ np.asarray(outputs)) / s == pytest.approx(exact, rel=1e-5)


def test_poles_and_zeros_of_two_compartments():
    function = transfer_function(two_compartments.model)["concentration", "start"]
    values = {"k10": 1.5, "k12": 1.0, "k21": 0.5, "C0": 3.0}
    poles = sorted(float(pole.subs(values)) for pole in function.poles)
    np.testing.assert_allclose(poles, sorted(np.roots([1.0, 3.0, 0.75])), rtol=1e-14)
    assert [str(c) for c in function.numerator] == ["C0", "C0*k21"]


def test_an_unobservable_mode_is_no_pole():
    """A hidden compartment behind the measured one adds no pole, and its rate is not seen."""

    def rhs(t, y, p, inputs):
        return {"x": -p["k"] * y["x"], "u": p["k"] * y["x"] - p["m"] * y["u"]}

    model = make("k m", rhs, lambda p, inputs: {"x": inputs["dose"], "u": 0.0}, lambda y, p: {"y": y["x"]})
    assert list(transfer_function(model)["y", "dose"].poles) == [-sympy.Symbol("k")]
    result = linear_identifiability(model)
    assert by_parameter(result, "verdict") == {"k": ("global",), "m": ("none",)}
    assert "never seen" in result.reason.sel(parameter="m").item()


def test_a_name_of_a_parameter_is_not_the_laplace_variable():
    system = transfer_function(secretion.model)
    function = system["C", "step"]
    s, q, z = sympy.symbols("s q z")
    assert function.variable == z
    assert sympy.cancel(function.expression - s * q / (z * (z + sympy.Rational(1, 2)))) == 0
    assert list(system.coefficients.values()) == [q * s]


def test_sources_and_inputs_in_time():
    """x' = a u - k x + c from x(0) = x0 dose: with u constant a is seen only with c, with u in time by itself."""

    def rhs(t, y, p, inputs):
        return {"x": p["a"] * inputs["u"] - p["k"] * y["x"] + p["c"]}

    model = make("a c k x0", rhs, lambda p, inputs: {"x": p["x0"] * inputs["dose"]}, lambda y, p: {"y": y["x"]})
    system = transfer_function(model)
    assert set(system.sources) == {"u", "dose", "step"}
    assert system.impulses == ("dose",)
    assert by_parameter(linear_identifiability(model), "verdict") == {
        "a": ("none",), "c": ("none",), "k": ("global",), "x0": ("global",),
    }  # fmt: skip
    result = linear_identifiability(model, inputs="functions")
    assert set(result.verdict.values.tolist()) == {"global"}
    general = structural_identifiability(model, inputs="functions")
    assert result.attrs["rank"] == general.attrs["rank"] == 4


def test_fixed_parameters_are_exact_numbers():
    space = Space(a=PRIOR, k=fixed(0.1))
    model = Model(space, Ode(lambda p, inputs: {"x": p["a"]}, lambda t, y, p, inputs: {"x": -p["k"] * y["x"]}),
                  lambda y, p: {"y": y["x"]}, {"y": ""})  # fmt: skip
    assert list(transfer_function(model)["y", "start"].poles) == [sympy.Rational(-1, 10)]


def test_poles_of_a_high_degree_stay_a_polynomial():
    names = [f"x{i}" for i in range(5)]

    def ring(t, y, p, inputs):
        return {name: p["k"] * y[names[i - 1]] * (p["a"] if i == 0 else 1.0) - y[name] for i, name in enumerate(names)}

    model = make("k a", ring, lambda p, inputs: {name: 1.0 if name == "x0" else 0.0 for name in names},
                 lambda y, p: {"y": y["x0"]})  # fmt: skip
    function = transfer_function(model).response["y"]
    assert function.poles == {}
    assert [factor.degree() for factor in function.unsolved] == [5]
    # only k^5 a is seen; the engine agrees
    assert linear_identifiability(model).attrs["rank"] == structural_identifiability(model).attrs["rank"] == 1


def test_nothing_unknown():
    space = Space(k=fixed(1.0))
    model = Model(space, Ode(lambda p, inputs: {"x": 1.0}, lambda t, y, p, inputs: {"x": -p["k"] * y["x"]}),
                  lambda y, p: {"y": y["x"]}, {"y": ""}, {"y": Normal("y", 1.0)})  # fmt: skip
    assert linear_identifiability(model).sizes["parameter"] == 0


# what is not linear ---------------------------------------------------------------------------------------------------


def saturating(t, y, p, inputs):
    return {"x": -p["v"] * y["x"] / (p["K"] + y["x"])}


def one(p, inputs):
    return {"x": 1.0}


def doses(p, inputs):
    return {"x": (jnp.ones(1), jnp.ones(1))}


def see(y, p):
    return {"y": y["x"]}


REFUSED = {
    "saturation": (make("v K", saturating, one, see), {}, r"rhs of 'x' is not linear in the states: -v\*x/\(K \+ x\)"),
    "product of states": (
        make("b", lambda t, y, p, i: {"x": -p["b"] * y["x"] * y["w"], "w": 0.0 * y["w"]},
             lambda p, i: {"x": 1.0, "w": 1.0}, see), {}, r"not linear in the states: -b\*w\*x",
    ),
    "output": (
        make("b", lambda t, y, p, i: {"x": -p["b"] * y["x"]}, one, lambda y, p: {"y": y["x"] ** 2}), {},
        r"observe of 'y' is not linear in the states: x\*\*2",
    ),
    "time": (make("b", lambda t, y, p, i: {"x": -p["b"] * t * y["x"]}, one, see), {}, "depends on time"),
    "Arrhenius": (
        make("b", lambda t, y, p, i: {"x": -jnp.exp(-p["b"]) * y["x"]}, one, see), {}, "not rational in its symbols",
    ),
    "doses": (
        make("b", lambda t, y, p, i: {"x": -p["b"] * y["x"]}, one, see, doses=doses), {}, "doses and switches",
    ),
    "bilinear": (
        make("b", lambda t, y, p, i: {"x": -p["b"] * i["u"] * y["x"]}, one, see), {"inputs": "functions"},
        "multiplies a state by an input that varies in time",
    ),
    "setting": (receptor_tf.model, {"inputs": "none"}, "known are 'constant', 'functions'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_linear_is_named(name):
    model, settings, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        transfer_function(model, **settings)


def test_a_simulator_has_no_transfer_function():
    with pytest.raises(InputError, match="a simulator without a system"):
        transfer_function(secretion.steady)
    with pytest.raises(InputError, match="there is none for"):
        transfer_function(two_scale_cascade.model)["y", "dose"]
