"""Local structural identifiability side by side with StrikePy, the Python port of STRIKE-GOLDD, in one process.

Both get the same equations: StrikePy the SymPy expressions that `read` takes from the model, uqbench the model itself.
StrikePy asks about unknown initial states and, without inputs, about every parameter; so does initial="unknown". It
reports to the standard output only. (Villaverde, Barreiro & Papachristodoulou 2016, doi:10.1371/journal.pcbi.1005153.)
"""

import contextlib
import io
import re
import sys
import time
import types

import pytest

import uqbench as uq
from forward_models import two_compartments, two_scale_cascade
from uqbench.identifiability import structural_identifiability
from uqbench.symbols import read

pytestmark = pytest.mark.bench
strike_goldd = pytest.importorskip(
    "StrikePy.strike_goldd", reason="StrikePy is not installed; add `StrikePy` to the group bench"
)
PRIOR = uq.epistemic(uq.LogNormal(0.0, 1.0))


def make(names, rhs, states, observe, outputs="y"):
    return uq.Model(
        uq.Space(dict.fromkeys(names.split(), PRIOR)),
        uq.Ode(lambda p, inputs: dict.fromkeys(states.split(), 1.0), rhs),
        observe,
        dict.fromkeys(outputs.split(), ""),
    )


def epidemic(t, y, p, inputs):
    infections = p["b"] * y["S"] * y["I"]
    return {"S": -infections, "I": infections - p["r"] * y["I"]}


def predators(t, y, p, inputs):
    eaten = p["c"] * y["x"] * y["z"]
    return {"x": p["a"] * y["x"] - eaten, "z": p["e"] * eaten - p["d"] * y["z"]}


def saturating(t, y, p, inputs):
    return {"x": -p["v"] * y["x"] / (p["K"] + y["x"])}


# What StrikePy answers within a minute; an epidemic with water (three states, five parameters) was stopped after nine.
SYSTEMS = {
    "cascade": two_scale_cascade.model,
    "two compartments": two_compartments.model,
    "saturation": make("v K", saturating, "x", lambda y, p: {"y": y["x"]}),
    "epidemic": make("b r k", epidemic, "S I", lambda y, p: {"y": p["k"] * y["I"]}),
    "predators": make("a c e d", predators, "x z", lambda y, p: {"y": y["x"]}),
}


def _column(entries):
    """A column as StrikePy reads it: nested lists, but a flat one for a single entry."""
    return list(entries) if len(entries) == 1 else [[entry] for entry in entries]


def by_strikepy(model, name):
    """Its identifiable parameters; the equations reach it as modules, which is how it reads them."""
    symbolic = read(model)
    known = {symbolic.symbols[each]: float(model.space[each].dist) for each in model.space.fixed}
    entering = set().union(*(e.free_symbols for part in (symbolic.rhs, symbolic.observe) for e in part.values()))
    unknown = [symbolic.symbols[each] for each in model.space.free if symbolic.symbols[each] in entering]
    outputs = [e.xreplace(known) for e in symbolic.observe.values()]
    description = types.ModuleType(f"StrikePy.models.{name}")
    description.x = _column([symbolic.symbols[each] for each in symbolic.states])
    description.h = _column(outputs)
    description.f = _column([e.xreplace(known) for e in symbolic.rhs.values()])
    description.p = _column(unknown)
    description.u, description.w = [], []
    options = types.ModuleType(f"StrikePy.custom_options.options_{name}")
    options.modelname, options.checkObser, options.maxLietime = name, 1, 100
    options.nnzDerU, options.nnzDerW, options.prev_ident_pars = [], [], []
    sys.modules |= {description.__name__: description, options.__name__: options}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        strike_goldd.strike_goldd(f"options_{name}")
    text = printed.getvalue()
    if "All its parameters are" in text:
        return {str(symbol) for symbol in unknown}
    listed = re.search(r"These parameters are identifiable:\s*\[(.*?)\]", text, re.DOTALL)
    assert listed, text
    return {each.strip() for each in listed[1].split(",") if each.strip()}


def by_uqbench(model):
    result = structural_identifiability(model, initial="unknown")
    entering = set(result.unknown.values.tolist())
    return {
        str(each) for each in result.parameter.values
        if each in entering and result.verdict.sel(parameter=each).item() != "none"
    }  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_same_verdicts_sooner(name, capsys):
    model = SYSTEMS[name]
    seconds = {}
    by_uqbench(model)  # what JAX traces at the first call is no matter of identifiability
    for tool, ask in (("uqbench", by_uqbench), ("StrikePy", lambda m: by_strikepy(m, name.replace(" ", "_")))):
        began = time.process_time()
        found = ask(model)
        seconds[tool] = time.process_time() - began, found
    ratio = seconds["StrikePy"][0] / seconds["uqbench"][0]
    with capsys.disabled():
        print(f"\n{name}: StrikePy {seconds['StrikePy'][0]:.2f} s, uqbench {seconds['uqbench'][0]:.3f} s, "
              f"ratio {ratio:.1f}; identifiable {sorted(seconds['uqbench'][1])}")  # fmt: skip
    assert seconds["uqbench"][1] == seconds["StrikePy"][1]
    assert ratio > 1
