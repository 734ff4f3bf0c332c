"""Local structural identifiability against closed forms, published answers and the laws of exp and log."""

import re
import statistics
import time
from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from flint import nmod_mat, nmod_poly

from forward_models import receptor_tf, secretion, theophylline
from uqbench import (
    Design,
    InputError,
    LogNormal,
    Model,
    Normal,
    Ode,
    Space,
    Study,
    aleatory,
    check_model,
    epistemic,
    fixed,
    identify,
    interpolate,
)
from uqbench.identifiability import structural_identifiability as both_levels
from uqbench.identifiability.constants import Start
from uqbench.identifiability.field import Elementary, Field, Series
from uqbench.identifiability.rank import rank_test
from uqbench.identifiability.structural import pose
from uqbench.identifiability.symmetries import integer_basis, linear, monomial, null_space, rational
from uqbench.reporting import sentences
from uqbench.symbols import trace

from ..references import reference

PRIOR = epistemic(LogNormal(0.0, 1.0))


def structural_identifiability(model, **settings):
    """The local half of the question; tests/identifiability/test_global.py asks the other."""
    return both_levels(model, level="local", **settings)


def make(names, rhs, start, observe=lambda y, p: {"o": y["y"]}, **known):
    """A model with free parameters `names`, known ones, and the first state observed unless said otherwise."""
    space = Space(dict.fromkeys(names.split(), PRIOR) | {name: fixed(value) for name, value in known.items()})
    initial = (
        start if callable(start) else lambda p, inputs: {name: jnp.asarray(value) for name, value in start.items()}
    )
    outputs = jax.eval_shape(observe, dict.fromkeys(["y", "x", "w", "z"], 1.0), dict.fromkeys(space.names, 1.0))
    return Model(space, Ode(initial, rhs), observe, dict.fromkeys(outputs, ""))


def secreting(t, y, p, inputs):
    return {"y": p["s"] * p["q"] - p["k"] * y["y"]}


def at_rest(p, inputs):
    return {"y": p["s"] * p["q"] / p["k"]}


def goodwin(t, y, p, inputs):
    return {
        "x": -p["b"] * y["x"] + 1 / (p["c"] + y["z"] ** p["n"]),
        "w": p["a"] * y["x"] - p["e"] * y["w"],
        "z": p["g"] * y["w"] - p["d"] * y["z"],
    }


def hill(t, y, p, inputs):
    return {"y": p["v"] * y["y"] ** p["n"] / (p["K"] ** p["n"] + y["y"] ** p["n"]) - p["d"] * y["y"]}


def chain(t, y, p, inputs):
    return {"y": -p["k"] * y["y"], "z": p["k"] * y["y"] - p["m"] * y["z"]}


def absorbed(t, y, p, inputs):
    return {"x": -p["ka"] * y["x"], "y": p["ka"] * y["x"] / p["V"] - p["CL"] / p["V"] * y["y"]}


def dosed(p, inputs):
    return {"x": inputs["dose"], "y": jnp.zeros(())}


def see_x(y, p):
    return {"o": y["x"]}


def arrhenius(t, y, p, inputs):
    rates = p["A"] * jnp.exp(-p["E"] / (p["R"] * inputs["T"]))
    return {"y": -rates[0] * y["y"], "z": -rates[1] * y["z"]}


def see_both(y, p):
    return {"o": y["y"], "u": y["z"]}


TWO_TEMPERATURES = Design([1.0], inputs={"T": [300.0, 310.0]})
ONES = {"x": 1.0, "w": 1.0, "z": 1.0}
# name -> (model, settings, verdicts that are not "local", combinations by parameter)
SYSTEMS = {
    "product of rates": (
        make("k g", lambda t, y, p, inputs: {"y": p["k"] * p["g"] * inputs["x"]}, {"y": 0.0}),
        {}, "k g", {"k": "k*g", "g": "k*g"},
    ),
    "secretion at rest": (make("s k", secreting, at_rest, q=10.0), {}, "s k", {"s": "s/k", "k": "s/k"}),
    "secretion at rest, q unknown": (make("s q k", secreting, at_rest), {}, "s q k", {"s": "s*q/k"}),
    "secretion from zero": (make("s k", secreting, {"y": 0.0}, q=10.0), {}, "", {}),
    "secretion from anywhere": (make("s k", secreting, {"y": 0.0}, q=10.0), {"initial": "unknown"}, "", {}),
    "secretion, q unknown": (make("s q k", secreting, {"y": 0.0}), {}, "s q", {"s": "s*q", "q": "s*q"}),
    "absorption": (make("ka V CL", absorbed, dosed), {}, "", {}),
    "absorption, dose unknown": (
        make("ka V CL", absorbed, dosed), {"initial": "unknown"}, "V CL", {"V": "V/x", "CL": "CL/x"},
    ),
    "Hill, real exponent": (make("v n K d", hill, {"y": 1.0}), {}, "", {}),
    "Hill, real exponent, from anywhere": (make("v n K d", hill, {"y": 1.0}), {"initial": "unknown"}, "", {}),
    "Goodwin, real exponent": (make("b c n a e g d", goodwin, ONES, see_x), {}, "", {}),
    "Goodwin, hidden scale": (
        make("b c n a e g d", goodwin, ONES, see_x), {"initial": "unknown"}, "a g", {"a": "a/w", "g": "g*w"},
    ),
    "Goodwin, known exponent": (
        make("b c a e g d", goodwin, ONES, see_x, n=10.0), {"initial": "unknown"}, "a g", {"a": "a/w", "g": "g*w"},
    ),
    "hidden compartment": (make("k m u", chain, {"y": 1.0, "z": 0.0}), {}, "m u", {"m": "", "u": ""}),
    "Arrhenius, one temperature": (
        make("A E", lambda t, y, p, i: {"y": -p["A"] * jnp.exp(-p["E"] / i["T"]) * y["y"]}, {"y": 1.0}),
        {}, "A E", {"A": ""},
    ),
    "Arrhenius, two temperatures": (
        make("A E", arrhenius, {"y": 1.0, "z": 2.0}, see_both, R=8.314), {"design": TWO_TEMPERATURES}, "", {},
    ),
    "only a sum": (
        make("a b", lambda t, y, p, inputs: {"y": -(p["a"] + p["b"]) * y["y"]}, {"y": 1.0}),
        {}, "a b", {"a": "a + b", "b": "a + b"},
    ),
    "forced oscillation": (
        make("a w f k", lambda t, y, p, i: {"y": p["a"] * jnp.sin(p["w"] * t + p["f"]) - p["k"] * y["y"]}, {"y": 1.0}),
        {}, "", {},
    ),
    "saturation by tanh": (
        make("a c", lambda t, y, p, inputs: {"y": -p["a"] * jnp.tanh(p["c"] * y["y"])}, {"y": 1.0}), {}, "", {},
    ),
    "allometric power": (
        make("g k", lambda t, y, p, i: {"y": p["g"] * (y["y"] / 70) ** 0.75 - p["k"] * y["y"]}, {"y": 3.5}), {}, "", {},
    ),
    "switch in time": (
        make("a h s", lambda t, y, p, i: {"y": p["a"] * jax.nn.sigmoid((t - p["h"]) / p["s"])}, {"y": 0.0}), {}, "", {},
    ),
    "diffusing dye": (
        make("a c", lambda t, y, p, i: {"y": p["a"] * jax.scipy.special.erf(p["c"] * y["y"])}, {"y": 1.0}), {}, "", {},
    ),
    "late and weak": (
        make("a", lambda t, y, p, inputs: {"y": 1.0}, {"y": 0.0}, lambda y, p: {"o": p["a"] * y["y"] ** 7}), {}, "", {},
    ),
}  # fmt: skip


def table(result, field="verdict"):
    return dict(zip(result.parameter.values.tolist(), result[field].values.tolist(), strict=True))


@pytest.mark.parametrize("name", SYSTEMS)
def test_verdicts(name):
    model, settings, none, combinations = SYSTEMS[name]
    result = structural_identifiability(model, **settings)
    verdicts = table(result)
    assert verdicts == {name: "none" if name in none.split() else "local" for name in model.space.free}
    assert {key: table(result, "combination")[key] for key in combinations} == combinations
    assert result.attrs["failure_probability"] < 1e-20
    assert result.attrs["rank"] == result.attrs["unknowns"] - result.sizes["null_direction"]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_every_seed_agrees(seed):
    for name in ("Hill, real exponent", "Goodwin, hidden scale", "secretion at rest, q unknown"):
        model, settings, _, _ = SYSTEMS[name]
        first, again = (structural_identifiability(model, **settings, seed=k) for k in (0, seed))
        assert first.drop_attrs().identical(again.drop_attrs())


def test_direction_of_the_steady_state():
    result = structural_identifiability(SYSTEMS["secretion at rest"][0])
    assert result.direction.sel(unknown=["s", "k"]).values.tolist() == [[1.0, 1.0]]
    result = structural_identifiability(SYSTEMS["product of rates"][0])
    assert result.direction.sel(unknown=["k", "g"]).values.tolist() == [[1.0, -1.0]]
    # moving along a + b = constant is no scaling: the direction in logarithms changes from point to point
    result = structural_identifiability(SYSTEMS["only a sum"][0])
    assert np.isnan(result.direction.values).all()


def test_states_are_asked_for_too():
    result = structural_identifiability(make("k m", chain, {"y": 1.0, "z": 0.0}), initial="unknown")
    assert dict(zip(result.state.values, result.state_verdict.values, strict=True)) == {"y": "local", "z": "none"}
    assert "never seen" in result.state_reason.sel(state="z").item()


def law(names, function):
    """A system whose slope should depend on none of `names`."""
    return make(names, lambda t, y, p, inputs: {"y": function(p)}, {"y": 0.0})


LAWS = {
    "exp of a sum": law("a b", lambda p: jnp.exp(p["a"] + p["b"]) / jnp.exp(p["a"]) / jnp.exp(p["b"])),
    "exp of a multiple": law("a b", lambda p: jnp.exp(2.5 * p["a"] * p["b"]) / jnp.exp(p["a"] * p["b"] / 2) ** 5),
    "exp of a quotient": law(
        "a b", lambda p: jnp.exp((p["a"] + 1) / p["b"]) / jnp.exp(p["a"] / p["b"]) / jnp.exp(1 / p["b"])
    ),
    "log of a product": law(
        "a b", lambda p: jnp.log(6 * p["a"] / p["b"] ** 2) - jnp.log(2 * p["a"]) + 2 * jnp.log(p["b"])
    ),
    "log of exp": law("a b", lambda p: jnp.log(jnp.exp(p["a"]) * p["b"]) - p["a"] - jnp.log(p["b"])),
    "exp of log": law("a b", lambda p: jnp.exp(p["b"] * jnp.log(p["a"])) / p["a"] ** p["b"]),
    "square of a root": law("a b", lambda p: jnp.sqrt(p["a"] + p["b"]) ** 2 - p["a"] - p["b"]),
    "root of a product": law("a b", lambda p: jnp.sqrt(p["a"] * p["b"]) / (jnp.sqrt(p["a"]) * jnp.sqrt(p["b"]))),
    "root of two": law("a b", lambda p: p["a"] * (jnp.sqrt(8.0) - 2 * jnp.sqrt(2.0)) + 0 * p["b"]),
    "powers of a power": law("a b", lambda p: (p["a"] ** p["b"]) ** 2 / p["a"] ** (2 * p["b"] + 1) * p["a"]),
    "circle": law("a b", lambda p: jnp.sin(p["a"] * p["b"]) ** 2 + jnp.cos(p["a"] * p["b"]) ** 2),
    "double angle": law("a", lambda p: jnp.sin(2 * p["a"]) - 2 * jnp.sin(p["a"]) * jnp.cos(p["a"])),
    "hyperbola": law("a", lambda p: jnp.cosh(p["a"]) ** 2 - jnp.sinh(p["a"]) ** 2),
    "tanh by the sigmoid": law("a", lambda p: jnp.tanh(p["a"]) - 2 * jax.nn.sigmoid(2 * p["a"])),
    "inverse sines": law("a", lambda p: jnp.arcsin(p["a"]) + jnp.arccos(p["a"])),
    "inverse tangent": law("a", lambda p: jnp.tan(jnp.arctan(p["a"])) - p["a"]),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_of_functions_hold(name):
    result = structural_identifiability(LAWS[name])
    assert set(table(result).values()) == {"none"}
    # and without the cancellation every parameter would be seen
    assert result.attrs["rank"] == 0


def test_a_special_start_is_named():
    def rhs(t, y, p, inputs):
        return {"x": p["k"] * y["x"], "y": p["a"] * y["x"] - p["b"] * y["y"]}

    result = structural_identifiability(make("k a b", rhs, {"x": 0.0, "y": 1.0}))
    assert table(result) == {"k": "none", "a": "none", "b": "local"}
    assert "other initial states would show it" in table(result, "reason")["k"]
    shifted = structural_identifiability(make("k a b", rhs, {"x": 0.0, "y": 1.0}), initial="shifted")
    assert set(table(shifted).values()) == {"local"}


def test_no_taylor_series_at_the_start():
    model = make("v n K d", hill, {"y": 0.0})
    with pytest.raises(InputError, match="rhs of 'y' divides by zero, or takes log or a fractional power of zero"):
        structural_identifiability(model)
    assert set(table(structural_identifiability(model, initial="shifted")).values()) == {"local"}


def test_hierarchy_and_noise():
    result = structural_identifiability(theophylline.model)
    assert set(table(result).values()) == {"local"}
    reasons = table(result, "reason")
    assert reasons["ka_median"].startswith("population: known from many units")
    assert reasons["sigma"].startswith("noise: from replicates or residuals")
    assert result.unknown.values.tolist() == ["ka", "CL", "V"]


def spreading(t, y, p, inputs):
    return {"y": p["s"] - p["k"] * y["y"]}


def see_spread(y, p):
    return {"c": y["y"], "sd": p["a"] + p["b"] * y["y"], "tied": p["u"] * p["v"] * y["y"], "extra": p["idle"]}


def test_parameters_that_act_on_the_noise_through_an_output_are_noise_parameters():
    model = make("s k a b u v idle", spreading, {"y": 0.0}, see_spread)
    model = replace(model, noise={"c": Normal("c", "sd")})
    result = structural_identifiability(model)
    expected = dict.fromkeys("skab", "local") | dict.fromkeys(("u", "v", "idle"), "none")
    assert table(result) == expected
    assert all(table(result, "reason")[name].startswith("noise: from replicates or residuals") for name in "ab")
    assert table(result, "reason")["idle"].startswith("unused:")
    whole = both_levels(model)
    assert [table(whole)[name] for name in "skab"] == ["global"] * 4
    # several of them in one formula are known as far as the formula tells
    tied = both_levels(replace(model, noise={"c": Normal("c", "tied")}))
    assert table(tied)["u"] == table(tied)["v"] == "none"
    assert table(tied, "combination")["u"] == "u*v"
    assert table(tied, "reason")["v"].startswith("noise")


def test_a_noise_parameter_under_a_root_that_begins_at_zero():
    def observe(y, p):
        return {"c": y["y"], "sd": jnp.sqrt(p["a"] ** 2 * y["y"])}

    model = replace(make("s k a", spreading, {"y": 0.0}, observe), noise={"c": Normal("c", "sd")})
    result = structural_identifiability(model)
    assert table(result) == dict.fromkeys("ska", "local")
    assert table(result, "reason")["a"].startswith("noise")


def test_a_population_is_no_better_known_than_its_members():
    space = Space(
        mean=PRIOR, prior=PRIOR, top=epistemic(LogNormal(median="prior", sigma=1.0)), sd=PRIOR, idle=PRIOR,
        s=aleatory(LogNormal(median="mean", sigma=1.0)), q=aleatory(LogNormal(median="top", sigma=1.0)),
        k=aleatory(LogNormal(median=1.0, sigma="sd")), noise=PRIOR,
    )  # fmt: skip
    model = Model(
        space, Ode(lambda p, inputs: {"y": jnp.zeros(())}, secreting), lambda y, p: {"o": y["y"], "extra": p["idle"]},
        {"o": "", "extra": ""}, {"o": Normal("o", "noise")},
    )  # fmt: skip
    result = structural_identifiability(model)
    expected = dict.fromkeys(space.free, "none") | {"sd": "local", "k": "local", "noise": "local"}
    assert table(result) == expected
    reasons = table(result, "reason")
    assert reasons["prior"].startswith("prior:")
    # `idle` enters only an output that is not measured
    assert reasons["idle"].startswith("unused:")


def test_the_models_that_ship():
    assert table(structural_identifiability(secretion.model), "combination") == {"s": "s*q", "q": "s*q"}
    result = structural_identifiability(receptor_tf.model)
    assert table(result) == dict.fromkeys(("eps", "L", "Kd", "beta"), "none") | {"delta": "local", "sigma": "local"}
    assert result.direction.values[0].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_bad_settings():
    with pytest.raises(InputError, match=r"initial='anywhere'.*\n.*inputs='none'"):
        structural_identifiability(secretion.model, initial="anywhere", inputs="none")
    with pytest.raises(InputError, match="a simulator without a system"):
        structural_identifiability(secretion.steady)
    with pytest.raises(InputError, match="divides by a fixed parameter that is zero"):
        structural_identifiability(make("s", secreting, at_rest, q=1.0, k=0.0))


def test_nothing_unknown():
    result = structural_identifiability(make("", secreting, {"y": 0.0}, s=1.0, q=1.0, k=1.0))
    assert result.sizes["parameter"] == 0
    assert result.attrs["rank"] == 0


# equations that jump in time -----------------------------------------------------------------------------------------


def infused(rate):
    """Elimination of what is infused at a rate that depends on time; only CL/V and rate/V are seen."""

    def rhs(t, y, p, inputs):
        return {"y": rate(t, p, inputs) - p["CL"] / p["V"] * y["y"]}

    return rhs


KNOTS, HEIGHTS = [0.0, 1.0, 3.0], [0.0, 2.0, 1.0]
# name -> (rate, parameters of its own, number of stretches, from which time on the first thing is seen)
JUMPS = {
    "an infusion": (lambda t, p, i: jnp.where(t < 2.0, i["rate"], 0.0), "", 2, 0.0),
    "a late infusion": (lambda t, p, i: jnp.where((t > 1.0) & (t < 2.0), i["rate"], 0.0), "", 2, 1.0),
    "a short infusion": (lambda t, p, i: jnp.where((t > 1.0) & (t < 1.001), i["rate"], 0.0), "", 2, 1.0),
    "an infusion that is too long": (lambda t, p, i: jnp.where(t < p["T"], i["rate"], 0.0), "T", 2, 0.0),
    "doses every two hours": (lambda t, p, i: jnp.where(t % 2.0 < 0.5, i["rate"], 0.0), "", 6, 0.0),
    "max": (lambda t, p, i: jnp.maximum(t - 1.0, 0.0), "", 2, 1.0),
    "min": (lambda t, p, i: -jnp.minimum(1.0 - t, 0.0), "", 2, 1.0),
    "abs": (lambda t, p, i: jnp.abs(t - 1.0), "", 2, 0.0),
    "clip": (lambda t, p, i: jnp.clip(t, 1.0, 2.0) - 1.0, "", 3, 1.0),
    "jnp.interp": (lambda t, p, i: jnp.interp(t, jnp.array(KNOTS), jnp.array(HEIGHTS)), "", 3, 0.0),
    "interpolate": (lambda t, p, i: interpolate(KNOTS, HEIGHTS)(t), "", 3, 0.0),
    "by an input": (lambda t, p, i: jnp.where(i["rate"] > 1.0, i["rate"], 0.0), "", 1, 0.0),
}


@pytest.mark.parametrize("name", JUMPS)
def test_jumps_in_time_leave_the_branch_that_holds(name):
    rate, own, stretches, seen = JUMPS[name]
    model = make(f"CL V {own}", infused(rate), {"y": 0.0}, lambda y, p: {"o": y["y"] / p["V"]})
    result = structural_identifiability(model, design=Design.linspace(0.0, 5.0, 6, inputs={"rate": 1.5}))
    assert table(result) == {"CL": "local", "V": "local"} | ({"T": "undecided"} if own else {})
    assert result.attrs.get("stretches", 1) == stretches
    if stretches > 1:
        assert f"that hold from t = {seen:g} on" in table(result, "reason")["V"]
    if own:
        assert "only the times at which the equations jump" in table(result, "reason")["T"]


def test_what_no_stretch_shows_by_itself_is_left_open():
    """y' = a b up to t = 1, and a/b after it: together they show both, and neither does alone."""

    def rhs(t, y, p, inputs):
        return {"y": jnp.where(t < 1.0, p["a"] * p["b"], p["a"] / p["b"]), "x": 0.0 * p["idle"]}

    result = structural_identifiability(make("a b idle", rhs, {"y": 0.0, "x": 1.0}), design=Design([0.5, 2.0]))
    assert table(result) == {"a": "undecided", "b": "undecided", "idle": "none"}
    assert "several together may show it" in table(result, "reason")["a"]


def begins_empty(p, inputs):
    return {"y": jnp.zeros(())}


def over_threshold(t, y, p, inputs):
    return {"y": p["s"] - p["k"] * jnp.maximum(y["y"] - 0.5, 0.0)}


def see_level(y, p):
    return {"o": y["y"]}


def test_identify_goes_on_where_states_decide():
    """The reason names the operation; the information, and what is run, do not need formulas."""

    space = Space(s=PRIOR, k=PRIOR)
    model = Model(space, Ode(begins_empty, over_threshold), see_level, {"o": ""}, {"o": Normal("o", 0.1)})
    check_model(model)
    tree = identify(Study("threshold", model, {"a": Design.linspace(0.5, 5.0, 8)}))
    assert table(tree["structure"]) == {"s": "undecided", "k": "undecided"}
    assert "`max` (from jnp.maximum, jnp.clip ...)" in table(tree["structure"], "reason")["k"]
    assert tree["fisher"].attrs["rank"] == 2


def test_settings_of_inputs_are_joined_where_equations_jump():
    def rhs(t, y, p, inputs):
        return {"y": jnp.where(t < 1.0, 0.0, p["v"] * inputs["s"] / (p["K"] + inputs["s"])) - y["y"]}

    model = replace(make("v K", rhs, {"y": 0.0}), noise={"o": Normal("o", 0.1)})
    experiments = {f"{s}": Design.linspace(0.5, 3.0, 6, inputs={"s": s}) for s in (1.0, 3.0)}
    found = identify(Study("hyperbola", model, experiments))["structure"]
    assert set(table(found).values()) == {"global"}


# what else could be known --------------------------------------------------------------------------------------------


def flow_reactor(t, y, p, inputs):
    """A stirred tank with a first-order reaction, fed at a concentration and a rate."""
    return {"y": inputs["u"] * (p["feed"] - y["y"]) / p["V"] - p["k0"] * p["A"] * y["y"] + p["leak"] * inputs["u"]}


@pytest.mark.slow
def test_arbitrary_inputs_stand_beside_those_given_where_they_show_more():
    """At a constant rate u/V + k0 A and u (feed/V + leak) are seen; with u(t) 1/V, k0 A and feed/V + leak."""
    model = make("feed V k0 A leak", flow_reactor, {"y": 0.0})
    model = replace(model, noise={"o": Normal("o", 0.1)})
    tree = identify(Study("reactor", model, {"a": Design.linspace(0.5, 5.0, 8, inputs={"u": 2.0})}))
    found = tree["structure"]
    assert set(table(found).values()) == {"none"}
    varied = table(found, "verdict_if_inputs_vary")
    assert varied == {"feed": "none", "V": "global", "k0": "none", "A": "none", "leak": "none"}
    assert sentences.other_inputs(tree) == "With inputs that vary in time, V could be identified from the same outputs."
    reasons = table(found, "reason")
    # each reason is about the parameter itself: in a combination with others, or undone by them
    for name, reason in reasons.items():
        words = set(re.findall(r"\w+", reason))
        assert name in words if reason.startswith("seen only in combination") else name not in words, reason
    assert "A" in reasons["k0"] and "k0" in reasons["A"] and "k0" not in reasons["feed"]


# published systems ---------------------------------------------------------------------------------------------------


PUBLISHED = {system["name"]: system for system in reference("structural_systems")["systems"]}


def from_strings(system):
    """A model from equations as text."""
    names = [*system["states"], *system["params"], *system["inputs"]]
    symbols = {name: sympy.Symbol(name) for name in names}

    def compiled(texts):
        expressions = [sympy.sympify(text, locals=symbols) for text in texts.values()]
        function = sympy.lambdify([symbols[name] for name in names], expressions, modules=jnp)
        return lambda values: dict(zip(texts, function(*(values[name] for name in names)), strict=True))

    slopes, outputs = compiled(system["rhs"]), compiled(system["outputs"])
    unseen = dict.fromkeys(system["inputs"], 0.0)
    ode = Ode(
        lambda p, inputs: dict.fromkeys(system["states"], 1.0),
        lambda t, y, p, inputs: slopes({**y, **p, **{name: inputs[name] for name in system["inputs"]}}),
    )
    space = Space(dict.fromkeys(system["params"], PRIOR))
    return Model(space, ode, lambda y, p: outputs({**unseen, **y, **p}), dict.fromkeys(system["outputs"], ""))


def cooled_reactor(t, y, p, inputs):
    """A stirred tank with a cooling jacket (Kumar and Daoutidis 1999), its Arrhenius factor a state of its own."""
    made = p["k0"] * y["a"] * y["c"]
    heated = inputs["u"] * (p["fed"] - y["T"]) / p["V"] - p["heat"] * made + p["UA"] * (y["J"] - y["T"]) / p["V"]
    return {
        "c": inputs["u"] * (p["feed"] - y["c"]) / p["V"] - made,
        "b": made - inputs["u"] * y["b"] / p["V"],
        "T": heated,
        "J": inputs["v"] * (p["cold"] - y["J"]) / p["W"] - p["UA"] * (y["J"] - y["T"]) / p["W"],
        "a": p["E"] * y["a"] * heated / (p["R"] * y["T"] ** 2),
    }


def cooled(starts):
    """The reactor; its states start at parameters, or at one."""
    names = ["feed", "V", "k0", "heat", "UA", "fed", "cold", "W", "E", "R"]
    names += [f"{state}_0" for state in "cbTJa" if starts]
    initial = (
        (lambda p, inputs: {x: p[f"{x}_0"] for x in "cbTJa"}) if starts else (lambda p, i: dict.fromkeys("cbTJa", 1.0))
    )
    space = Space(dict.fromkeys(names, PRIOR))
    return Model(space, Ode(initial, cooled_reactor), lambda y, p: {"b": y["b"], "T": y["T"]}, {"b": "", "T": ""})


REACTORS = {"a reactor": cooled(False), "a reactor from starts that are parameters": cooled(True)}


@pytest.mark.parametrize("inputs, initial", [("constant", "given"), ("functions", "unknown")])
@pytest.mark.parametrize("name", [*REACTORS, *PUBLISHED])
def test_a_reason_is_about_its_own_parameter(name, inputs, initial):
    """A combination has the parameter in it, and what undoes a change of it are others, which are moved as well."""
    result = structural_identifiability(
        REACTORS.get(name) or from_strings(PUBLISHED[name]), initial=initial, inputs=inputs
    )
    verdicts = table(result) | (states(result) if initial == "unknown" else {})
    texts = [*zip(result.parameter.values, result.reason.values, result.combination.values, strict=True)]
    if initial == "unknown":
        texts += zip(result.state.values, result.state_reason.values, result.state_combination.values, strict=True)
    for parameter, reason, combination in texts:
        if combination:
            assert all(parameter in words(part) for part in combination.split(", ")), (parameter, combination)
        if reason.startswith("seen only in combination: "):
            assert parameter in words(reason) and verdicts[parameter] == "none"
        if reason.startswith("a change of it is undone by "):
            others = reason.removeprefix("a change of it is undone by ").split(" (")[0].split(", ")
            assert parameter not in others and {verdicts[other] for other in others} == {"none"}


def states(result):
    return dict(zip(result.state.values.tolist(), result.state_verdict.values.tolist(), strict=True))


def words(text):
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("name", [name for name, system in PUBLISHED.items() if "identifiable_functions" in system])
def test_published_systems(name):
    """The null space is exactly what the published generators of the identifiable functions leave free."""
    system = PUBLISHED[name]
    model = from_strings(system)
    result = structural_identifiability(model, initial="unknown", inputs="functions")
    verdicts = table(result) | dict(
        zip(result.state.values.tolist(), result.state_verdict.values.tolist(), strict=True)
    )
    functions = system["identifiable_functions"]
    assert not [name for name in functions if verdicts.get(name) == "none"]

    question = pose(name, model, None, "unknown")
    outcome = rank_test(replace(question, varying=True), np.random.default_rng(7))
    jacobian = outcome.jacobians[0]
    symbols = {name: sympy.Symbol(name) for name in question.unknowns}
    values = dict(zip(symbols.values(), jacobian.values, strict=True))
    gradients = [gradient(sympy.sympify(text, locals=symbols), values, jacobian.prime) for text in functions]
    matrix = nmod_mat(len(gradients), len(values), [entry for row in gradients for entry in row], jacobian.prime)
    free = null_space(jacobian.natural())
    assert all(sum(a * b for a, b in zip(row, v, strict=True)) % jacobian.prime == 0 for row in gradients for v in free)
    assert matrix.rank() == outcome.rank == result.attrs["rank"]


def gradient(expression, values, prime):
    """The derivatives of a rational function modulo a prime."""
    numerator, denominator = sympy.fraction(sympy.together(expression))
    n, d = (_modulo(part, values, prime) for part in (numerator, denominator))
    slopes = []
    for symbol in values:
        dn, dd = (_modulo(sympy.diff(part, symbol), values, prime) for part in (numerator, denominator))
        slopes.append((dn * d - n * dd) * pow(d, -2, prime) % prime)
    return slopes


def _modulo(polynomial, values, prime):
    total = sympy.Rational(polynomial.xreplace(values) if polynomial.free_symbols else polynomial)
    return int(total.p) * pow(int(total.q), -1, prime) % prime


def test_fast_enough():
    """Median processor time per published system, tracing included."""
    models = [from_strings(system) for system in PUBLISHED.values()]
    seconds = []
    for model in models:
        began = time.process_time()
        structural_identifiability(model, initial="unknown")
        seconds.append(time.process_time() - began)
    print(f"median {statistics.median(seconds):.3f} s, slowest {max(seconds):.3f} s of {len(seconds)} systems")
    assert statistics.median(seconds) < 0.2


# pieces --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cofactor", [1, 2, 4])
def test_fields(cofactor):
    rng = np.random.default_rng(cofactor)
    field = Field.random(rng, cofactor)
    assert field.prime.bit_length() in (60, 61, 62)
    if cofactor == 1:
        return
    element = field.random_power(rng)
    for exponent in (sympy.Rational(1, 2), sympy.Rational(-3, 4), sympy.Rational(7, 5)):
        n, d = int(exponent.p), int(exponent.q)
        root = field.power(element, Fraction(n, d))
        assert pow(root, d, field.prime) == pow(element, n, field.prime)
    if cofactor == 4:
        assert pow(field.imaginary(rng), 2, field.prime) == field.prime - 1


@pytest.mark.parametrize("length", [1, 2, 3, 8, 21])
def test_series_of_functions(length):
    """exp and log obey their differential equations and undo each other."""
    rng = np.random.default_rng(length)
    field = Field.random(rng, 2)
    start = Start(field, rng)
    u = nmod_poly([field.random_element(rng) for _ in range(length)], field.prime)
    argument = start.symbol("u", int(u[0]))
    start.function("log", start.function("exp", argument))
    start.function("log", argument)
    series = Series(field, start.table, length)
    grown = series.function("exp", u)
    assert grown.derivative() == (u.derivative() * grown).truncate(length - 1)
    assert series.function("log", grown) == u
    logarithm = series.function("log", u)
    assert (logarithm.derivative() * u).truncate(length - 1) == u.derivative()
    assert series.mul(series.integer_power(u, -3), series.integer_power(u, 3)) == series.one


def test_smallest_fraction():
    prime = Field.random(np.random.default_rng(0), 1).prime
    for n, d in ((0, 1), (1, 1), (-1, 1), (2, 3), (-7, 5), (999, 1000)):
        assert rational(n * pow(d, -1, prime) % prime, prime) == sympy.Rational(n, d)
    assert rational(123456789123456789, prime) is None


def test_integer_vectors_and_words():
    prime = Field.random(np.random.default_rng(0), 1).prime
    half = pow(2, -1, prime)
    assert sorted(integer_basis([[1, 0, half], [0, 1, half]], prime)) == [[1, -1, 0], [1, 1, 1]]
    assert integer_basis([[1, 123456789123456789]], prime) == []
    assert monomial([1, -1, 0], "abc") == "a/b"
    assert monomial([-1, 2, -1], "abc") == "b**2/(a*c)"
    assert monomial([-1, 0, 0], "abc") == "1/a"
    assert linear([-1, 2, -3], "abc") == "-a + 2*b - 3*c"


def test_elementary_functions_leave_no_others():
    program = trace(SYSTEMS["forced oscillation"][0]).rewrite(Elementary())
    assert {operation[1] for operation in program.operations if operation[0] == "function"} == {"exp"}
