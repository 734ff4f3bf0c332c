"""A model in identifiable combinations computes what the original does, or is refused."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import product_rate, secretion
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.model.reparametrisation import reparametrised

PRIOR = uq.epistemic(uq.LogNormal(median=1.0, sigma=0.4))


def initial(p, inputs):
    return {"C": jnp.zeros(())}


def rhs(t, y, p, inputs):
    return {"C": p["s"] * p["q"] - p["k"] * y["C"]}


def observe(y, p):
    return {"C": y["C"]}


def line(theta, design, key):
    return {"y": theta["a"] * theta["b"] ** 2 * design.times}


def secreting(noise=None, **parameters):
    space = uq.Space({**parameters, **{name: PRIOR for name in "sqk" if name not in parameters}})
    return uq.Model(space, uq.Ode(initial, rhs), observe, {"C": ""}, noise or {}, "secreting")


def lines(noise=None, **parameters):
    space = uq.Space({"a": PRIOR, "b": PRIOR} | parameters)
    return uq.Model.from_function(space, line, {"y": ""}, noise, name="lines")


def test_product_of_rates():
    new = reparametrised(product_rate.model, {"kg": "k*g"})
    assert list(new.space) == ["kg", "sigma"]
    # k ~ LogNormal(median .5, .5), g ~ LogNormal(median 4, .5): the product is exactly LogNormal(median 2, sqrt .5)
    assert new.space["kg"].dist == uq.LogNormal(median=2.0, sigma=np.sqrt(0.5))
    design = uq.Design([1.0, 2.0], inputs={"stimulus": 3.0})
    outputs = uq.evaluate(new, {"kg": 0.7 * 3.1}, design).outputs["y"]
    expected = uq.evaluate(product_rate.model, {"k": 0.7, "g": 3.1}, design).outputs["y"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-14)
    assert uq.check_model(new, design).failed == 0
    assert structural_identifiability(new).attrs["rank"] == 1
    assert set(structural_identifiability(new).verdict.values.tolist()) <= {"local", "global"}
    fisher = fisher_information(uq.Study("product", new, {"a": design}))
    assert np.all(np.isfinite(fisher.cramer_rao))
    assert pickle.loads(pickle.dumps(new.observe)) == new.observe


def test_steady_secretion():
    new = reparametrised(secretion.steady, {"sk": "s/k"})
    assert set(new.space) == {"sk", "q"}
    assert new.space["sk"].dist == uq.LogNormal(median=2.0, sigma=0.3)
    assert new.space["sk"].role == "epistemic"
    run = uq.evaluate(new, {"sk": 1.7, "q": 11.0}, uq.Design([0.0]))
    assert float(run.outputs["C"]) == pytest.approx(1.7 * 11.0, rel=1e-14)


def test_a_transient_shows_more_than_the_steady_state():
    with pytest.raises(uq.InputError, match="output 'C' changes though sk = s/k"):
        reparametrised(secreting(), {"sk": "s/k"})
    new = reparametrised(secreting(), {"sq": "s*q"})
    assert list(new.space) == ["sq", "k"]
    assert structural_identifiability(new).attrs["rank"] == 2


def test_random_old_parameters_are_met():
    old, design = secreting(), uq.Design([0.3, 1.0, 4.0])
    new = reparametrised(old, {"sq": "s*q"})
    rng = np.random.default_rng(0)
    for _ in range(5):
        s, q, k = rng.lognormal(size=3)
        first = uq.evaluate(old, {"s": s, "q": q, "k": k}, design).outputs["C"]
        second = uq.evaluate(new, {"sq": s * q, "k": k}, design).outputs["C"]
        np.testing.assert_allclose(first, second, rtol=1e-9)


def test_powers_and_other_families():
    """log a b^2 has the variance of log a and four times that of log b; a Uniform(log) has (log 100)^2 / 12."""
    new = reparametrised(lines(a=uq.epistemic(uq.LogUniform(0.1, 10.0))), {"c": "3*a*b**2"})
    arguments = new.space["c"].dist.arguments
    assert arguments["median"] == pytest.approx(3.0)
    assert arguments["sigma"] == pytest.approx(np.sqrt(np.log(100) ** 2 / 12 + 4 * 0.4**2), rel=1e-6)


def test_sums_need_a_prior():
    def sums(theta, design, key):
        return {"y": (theta["a"] + theta["b"]) * design.times}

    old = uq.Model.from_function(uq.Space(a=PRIOR, b=PRIOR), sums, {"y": ""})
    with pytest.raises(uq.InputError, match=r"'c' needs a prior, since a \+ b is no product of powers"):
        reparametrised(old, {"c": "a + b"})
    new = reparametrised(old, {"c": "a + b"}, priors={"c": uq.LogNormal(median=2.0, sigma=0.5)})
    assert float(uq.evaluate(new, {"c": 5.0}, uq.Design([2.0])).outputs["y"][0]) == pytest.approx(10.0)


def test_an_old_parameter_may_stay():
    new = reparametrised(lines(noise={"y": uq.Normal("y", "b")}), {"ab": "a*b**2", "b": "b"})
    assert set(new.space) == {"ab", "b"}
    assert new.noise["y"] == uq.Normal("y", "b")


def test_noise_follows():
    # a is now ab / b^2, an output without noise, because the noise of y names it
    new = reparametrised(lines(noise={"y": uq.Normal("y", "a")}), {"ab": "a*b**2", "b": "b"})
    assert new.outputs == ("y", "a")
    run = uq.evaluate(new, {"ab": 8.0, "b": 2.0}, uq.Design([1.0, 3.0]))
    np.testing.assert_allclose(run.outputs["a"], 2.0)
    assert uq.check_model(new).gradient == "exact"
    with pytest.raises(uq.InputError, match=r"the noise of 'y' changes though ab = a\*b\*\*2"):
        reparametrised(lines(noise={"y": uq.Normal("y", "b")}), {"ab": "a*b**2"})


HIERARCHY = {"mean": PRIOR, "s": uq.aleatory(uq.LogNormal(median="mean", sigma=0.1))}
REFUSED = {
    "unknown": (product_rate.model, {"kg": "k*h"}, {}, "unknown parameter 'h'"),
    "taken": (product_rate.model, {"sigma": "k*g"}, {}, "'sigma' is already a parameter"),
    "an output": (product_rate.model, {"y": "k*g"}, {}, "'y' is already an output"),
    "no expression": (product_rate.model, {"kg": "k*"}, {}, "no expression"),
    "constant": (product_rate.model, {"kg": "2"}, {}, "contains no parameter"),
    "dependent": (product_rate.model, {"u": "k*g", "v": "k**2*g**2"}, {}, "no choice of parameters to hold"),
    "too many": (product_rate.model, {"u": "k*g", "v": "k/g", "w": "k"}, {}, "3 combinations of the 2 parameters"),
    "negative": (secretion.model, {"sq": "s*q"}, {}, "q may be negative"),
    "mixed": (
        secreting(q=uq.aleatory(uq.LogNormal(median=1.0, sigma=0.1))), {"sq": "s*q"}, {},
        "mixes what is not known with what differs between units",
    ),
    "hierarchy": (secreting(**HIERARCHY), {"sq": "s*q"}, {}, "the distribution of s names other parameters"),
    "named by others": (
        secreting(**HIERARCHY), {"m": "mean*k"}, {}, "the distribution of 's' names 'mean', which is replaced",
    ),
    "not sufficient": (product_rate.model, {"kg": "k + g"}, {"kg": PRIOR}, "the combinations are not sufficient"),
    "prior of nothing": (product_rate.model, {"kg": "k*g"}, {"k": PRIOR}, "'k' is none of the new parameters"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_named(name):
    model, combinations, priors, words = REFUSED[name]
    with pytest.raises(uq.InputError, match=words):
        reparametrised(model, combinations, priors=priors)


def test_nothing_to_do():
    assert reparametrised(product_rate.model, {}) is product_rate.model
    assert reparametrised(product_rate.model, {"k": "k"}) is product_rate.model


def pulsed_initial(p, inputs):
    return {"A": p["k"] * p["g"]}


def pulsed_rhs(t, y, p, inputs):
    return {"A": -p["k"] * p["g"] * y["A"]}


def pulsed_start(p, inputs):
    return 0.1 * p["k"] * p["g"]


def low(t, y, p, inputs):
    return y["A"] - 0.5 * p["k"] * p["g"]


def refilled(t, y, p, inputs):
    return {"A": y["A"] + p["k"] * p["g"]}


def pulsed_observe(y, p, t, inputs):
    return {"c": y["A"] * (1 + t * p["k"] * p["g"]) * inputs["gain"]}


def lagged_rhs(t, y, p, inputs):
    return {"A": -p["k"] * p["g"] * y["before"]}


def lag(p, inputs):
    return 0.3 * p["k"] * p["g"]


def history(t, p, inputs):
    return p["k"] * p["g"] * (1 - t)


@pytest.mark.parametrize("kind", ["event", "delay"])
def test_every_function_of_a_system_is_given_the_old_parameters(kind):
    """A start that is a parameter, events, delays, an `observe` that reads time and inputs."""
    system = {
        "event": uq.Ode(pulsed_initial, pulsed_rhs, start=pulsed_start, events=(uq.Event(low, refilled, "falling"),)),
        "delay": uq.Ode(pulsed_initial, lagged_rhs, delays={"before": uq.Delay("A", lag, history)}),
    }[kind]
    space = uq.Space({name: uq.epistemic(uq.LogNormal(median=1.0, sigma=0.3)) for name in ("k", "g")})
    model = uq.Model(space, system, pulsed_observe, {"c": ""}, {"c": uq.Normal("c", 0.1)})
    design = uq.Design(np.linspace(0.3, 4.0, 8), inputs={"gain": 2.0})
    new = reparametrised(model, {"kg": "k*g"}, design=design)
    old = uq.evaluate(model, {"k": 1.5, "g": 0.8}, design)
    run = uq.evaluate(new, {"kg": 1.2}, design)
    assert int(old.result) == int(run.result) == 0
    np.testing.assert_allclose(run.outputs["c"], old.outputs["c"], rtol=1e-6)
