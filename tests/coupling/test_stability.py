"""Predictions of schedules against what the schedules do."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench as uq
from forward_models.coupling_schedules import model_of, schedules
from forward_models.secretion import model as secretion
from uqbench.coupling import (
    Aitken,
    Anderson,
    Monolithic,
    QuasiNewton,
    Relaxation,
    Splitting,
    Strong,
    Weak,
    best_relaxation,
    stability,
)
from uqbench.coupling.equations import Equations, Given

from .contacts import stiff_pair
from .random_systems import model, random_inputs, system

STEP = 0.1


@jax.jit
def measured_rate(inputs):
    """How a small error of what the second part shows shrinks or grows in many rounds of plain Gauss-Seidel."""
    pair, given, t = system(Strong(STEP)), Given({"unit": jnp.asarray(1.0)}, inputs), jnp.asarray(0.0)
    equations = Equations.of(pair.parts, pair.exchanges, given, t)
    z, schedule = equations.start(given, t), pair.schedule
    seen = schedule.seen(equations, t, jnp.asarray(STEP), z, schedule.memory(equations, t, z, given), given)
    answer = seen.reached.x

    def again(error, _):
        after = seen.again(answer + error) - answer
        size = jnp.linalg.norm(after)
        return after / size, jnp.log(size)

    # an error of another size goes the same way, since the parts are linear
    return jnp.exp(jnp.mean(jax.lax.scan(again, jnp.ones_like(answer), None, length=400)[1][100:]))


def test_rates_of_linear_pairs_are_those_measured():
    rng, plain = np.random.default_rng(1), {"plain": Strong(STEP, Relaxation())}
    base, rates = model(Strong(STEP)), []
    for _ in range(25):
        inputs = random_inputs(rng, 0.0, rng.choice([1.0, 5.0, 20.0]))
        found = stability(base, uq.Design([1.0], inputs=inputs), schedules=plain).predictions["plain"]
        measured = float(measured_rate(jax.tree.map(jnp.asarray, inputs)))
        assert measured == pytest.approx(found.plain_rate, rel=0.05)
        rates.append(found.plain_rate)
    assert min(rates) < 0.5 and max(rates) > 1.5


CHOSEN = {
    "concurrent": Weak(STEP, concurrent=True),
    "sequential": Weak(STEP),
    "Aitken": Strong(STEP, Aitken()),
}
ALL = {**CHOSEN, "Lie": Splitting(STEP, order=1), "Strang": Splitting(STEP), "Anderson": Strong(STEP, Anderson()),
       "quasi-Newton": Strong(STEP, QuasiNewton()), "monolithic": Monolithic(STEP)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("chosen, count", [(CHOSEN, 12), pytest.param(ALL, 200, marks=pytest.mark.slow)])
def test_no_schedule_that_is_called_stable_diverges(chosen, count):
    rng, stable = np.random.default_rng(0), dict.fromkeys(chosen, 0)
    models = {name: model(schedule) for name, schedule in chosen.items()}
    for number in range(count):
        inputs = random_inputs(rng, float(number % 2), rng.choice([1.0, 5.0, 20.0, 60.0]))
        design = uq.Design([5.0, 20.0], inputs=inputs)
        advice = stability(models["sequential"], design, schedules=chosen)
        for name, each in models.items():
            if advice.predictions[name].stable:
                stable[name] += 1
                run = uq.evaluate(each, {}, design)
                assert int(run.result) == 0, (number, name)
                assert max(float(jnp.max(jnp.abs(run.outputs[state]))) for state in "xy") < 100.0, (number, name)
        assert advice.recommended == next((n for n in chosen if advice.predictions[n].stable), "")
    print(f"of {count} random systems called stable: {stable}; none of these runs diverged")
    # it neither calls all of them stable nor none
    assert all(0 < number <= count for number in stable.values())
    assert min(stable.values()) < count


@settings(max_examples=100)
@given(st.lists(st.floats(-50.0, 0.9), min_size=1, max_size=5))
def test_best_relaxation_of_real_factors_is_the_closed_form(factors):
    low, high = 1 - max(factors), 1 - min(factors)
    relaxation, rate = best_relaxation(factors)
    assert rate == pytest.approx((high - low) / (high + low), abs=1e-6)
    assert relaxation == pytest.approx(2 / (high + low), rel=1e-4)


@given(st.floats(0.01, 100.0))
def test_relaxation_of_dirichlet_neumann_coupling(ratio):
    assert best_relaxation([-ratio]) == pytest.approx((1 / (1 + ratio), 0.0))


def test_the_relaxation_of_contacts_is_that_of_their_capacities():
    # through a perfect contact the ratio is that of the heat capacities, 10 to 1
    plain = {"plain": Strong(1.0, Relaxation())}
    perfect = {"k": 1e7, "loss": 0.0}
    found = stability(stiff_pair(Strong(1.0)), uq.Design([1.0]), perfect, schedules=plain).predictions["plain"]
    assert found.plain_rate == pytest.approx(10.0, rel=1e-4)
    assert found.relaxation == pytest.approx(1 / 11, rel=1e-4)


def test_schedules_that_diverge_are_warned_of_and_garbage_is_refused():
    concurrent = model_of(schedules["concurrent"])
    with pytest.warns(uq.CouplingWarning, match=r"2\.033"):
        uq.evaluate(concurrent, concurrent.space.nominal(), uq.Design([0.5]))
    with pytest.raises(uq.InputError, match=r"after 20 of 50 windows; .* 'weak, sequential' is stable"):
        uq.evaluate(concurrent, concurrent.space.nominal(), uq.Design([5.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        staggered = model_of(schedules["staggered"])
        uq.evaluate(staggered, staggered.space.nominal(), uq.Design([5.0]))


def test_a_schedule_is_looked_at_inside_other_traces():
    concurrent = model_of(schedules["concurrent"])

    def ends(a):
        return uq.evaluate(concurrent, concurrent.space.nominal() | {"a": a}, uq.Design([0.1])).outputs["y"][0]

    with pytest.warns(uq.CouplingWarning, match=r"2\.033"):
        assert float(jax.jit(ends)(1.0)) == pytest.approx(2 / 1.1)


def start_of_rooted(p, inputs):
    return {"x": inputs["x"]}


def rooted(t, y, p, inputs):
    return {"x": inputs["fast"] * (y["y"] - y["x"]) - jnp.sqrt(y["x"])}


def start_of_other(p, inputs):
    return {"y": 1.0}


def filled(t, y, p, inputs):
    return {"y": inputs["fast"] * (y["x"] - y["y"])}


def test_growth_without_a_number():
    """Of what has no derivatives nothing is said, of windows that overflow in steps how much that is at least."""
    parts = {
        "one": uq.Part(start_of_rooted, rooted, "y", integrator="explicit_euler", step=1e-3),
        "two": uq.Part(start_of_other, filled, "x", integrator="explicit_euler", step=1e-3),
    }
    space = uq.Space(unit=uq.fixed(1.0))
    model = uq.Model(space, uq.Coupled(parts, {}, Weak(STEP), tolerance=None), units={"x": "", "y": ""})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = uq.evaluate(model, {}, uq.Design([1.0], inputs={"x": 0.0, "fast": 1.0}))
    assert int(run.result) == 0
    with pytest.raises(uq.InputError, match=r"more than 1e\+300 in each window.*after 1 of 10 windows"):
        uq.evaluate(model, {}, uq.Design([1.0], inputs={"x": 1.0, "fast": 1e8}))


def test_predictions_belong_to_the_inputs():
    pair, still = model(Weak(STEP)), np.zeros((2, 2))
    common = {"x": np.ones(2), "y": np.ones(2), "bent": np.asarray(0.0), "A": -np.eye(2), "B": -np.eye(2)}
    with pytest.raises(uq.InputError, match="errors by"):
        uq.evaluate(pair, {}, uq.Design([50.0], inputs={**common, "C": -50 * np.eye(2), "D": 50 * np.eye(2)}))
    run = uq.evaluate(pair, {}, uq.Design([50.0], inputs={**common, "C": still, "D": still}))
    assert np.asarray(run.outputs["x"][0]) == pytest.approx(1.1**-500 * np.ones(2), rel=1e-9)


def test_what_is_not_coupled_has_no_schedules():
    with pytest.raises(uq.InputError, match="no parts"):
        stability(secretion, uq.Design([1.0]))
