"""The budget of time: estimates before long operations, and one limit for all questions of the verb `identify`."""

import numpy as np
import pytest

from uqbench import Design, Model, Ode, Space, Study, identify
from uqbench.identifiability import budget as budget_module
from uqbench.identifiability import questions
from uqbench.identifiability.budget import Undecided
from uqbench.identifiability.elimination.equations import PROJECTION, Elimination
from uqbench.identifiability.elimination.polynomials import Ring
from uqbench.identifiability.elimination.reading import from_question
from uqbench.identifiability.fibres.taylor_fibre import random_prime
from uqbench.identifiability.structural import pose, within

from .test_global import BORGHANS, Clock, calcium
from .test_structural import PRIOR, make


def bilinear_cascade(t, y, p, inputs):
    """Eight states, each driving the next; parameters by place."""
    before = [1.0, *y.values()]
    pairs = zip(before, y.items(), strict=False)
    return {name: p[f"v{k}"] * up * (1 - p[f"s{k}"] * x) - p[f"d{k}"] * x for k, (up, (name, x)) in enumerate(pairs)}


def test_equations_are_not_differentiated_where_there_is_no_time_for_it(monkeypatch):
    """What is put into common variables for a derivative stays within what was allowed."""
    names = [f"x{k}" for k in range(8)]
    space = Space({f"{letter}{k}": PRIOR for k in range(8) for letter in "vsd"})
    ode = Ode(lambda p, inputs: {name: 0.1 + 0.1 * k for k, name in enumerate(names)}, bilinear_cascade)
    model = Model(space, ode, lambda y, p: {"o": y["x7"]}, {"o": ""})
    question = pose("", model, None, "given")
    rng = np.random.default_rng(0)
    system = from_question(question, random_prime(rng))
    made = []
    join = Ring.join

    def noted(self, *polynomials):
        made.extend(map(len, polynomials))
        return join(self, *polynomials)

    monkeypatch.setattr(Ring, "join", noted)
    allowed = 1_000_000
    with pytest.raises(Undecided, match="time budget"):
        Elimination(system, rng, Clock(allowed)).run()
    assert 10 < max(made) * PROJECTION <= allowed


class Ticking:
    """A clock that goes on by one second whenever it is looked at."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now


def driven(t, y, p, inputs):
    """At a constant input V0 + beta V1 + u gain is seen, and gain only with u(t); what else there is takes long."""
    rates = calcium(t, y, p, inputs)
    return rates | {"y": rates["y"] + inputs["u"] * p["gain"]}


@pytest.mark.parametrize("budget", [30.0, 100.0])
@pytest.mark.parametrize("inputs, asked", [({}, 1), ({"u": 1.0}, 2)], ids=["one question", "and other inputs"])
def test_all_questions_of_the_verb_share_one_budget(monkeypatch, budget, inputs, asked):
    """In looks at the clock, one of which is a second: none is asked after the end, whichever questions there are."""
    clock, limits = Ticking(), []
    monkeypatch.setattr(budget_module, "time", clock)

    def noted(limit, *arguments, **options):
        limits.append((clock.now, limit.end))
        return within(limit, *arguments, **options)

    monkeypatch.setattr(questions, "within", noted)
    monkeypatch.setattr(Elimination, "run", too_large)
    rhs, names = (driven, f"{BORGHANS} gain") if inputs else (calcium, BORGHANS)
    model = make(names, rhs, {"y": 0.1, "x": 1.0, "w": 0.5})
    study = Study("calcium", model, {"a": Design.linspace(0.0, 1.0, 3, inputs=inputs)})
    found = identify(study, budget=budget)["structure"]
    assert found.attrs["budget"] == budget and len(limits) == asked
    assert "undecided" in found.verdict.values and found.locally.values.any()
    # the first look is the beginning
    assert all(began < end <= 1.0 + budget for began, end in limits)
    assert budget <= clock.now - 1.0 <= 1.2 * budget
    if asked == 2:
        assert found.verdict_if_inputs_vary.sel(parameter="gain") in ("undecided", "global")


def too_large(self):
    """Looks at the clock until there is no time left."""
    while True:
        self.budget.check()
