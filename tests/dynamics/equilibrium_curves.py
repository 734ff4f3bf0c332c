"""Systems whose equilibria are known: switches, toggles, oscillators, and the simplest curves."""

import jax.numpy as jnp
from scipy.optimize import brentq

import uqbench as uq
from forward_models.bistable_switch import system as SWITCH
from uqbench.dynamics.continuation import fold

# SYSTEMS.md, section A: b, x and a at the fold. Its -.2752764361 for the last one is not a fold: the root of
# (1 + x^2)^2 = 5 x found with 30 digits is x = 1.20683862689678, with a = -.27543646083116.
FOLDS = [
    (3.0, 0.1773111526, 0.0858683119),
    (3.0, 1.3641626218, -0.5872308511),
    (2.5, 0.2197897344, 0.1045861179),
    (2.5, 1.2068386269, -0.2754364608),
]
CUSP_B = 1.5396007178390017
REST = {"a": 0.0, "x0": 0.0}


def ones_pqr(p, inputs):
    return {name: jnp.ones(()) for name in "pqr"}


def repressilator(t, y, p, inputs):
    """Three genes, each of which holds down the next."""
    before = {"p": "r", "q": "p", "r": "q"}
    return {name: p["a"] / (1 + y[other] ** 3) - y[name] for name, other in before.items()}


def toggle(t, y, p, inputs):
    """Gardner, Cantor & Collins (2000); v is measured in a unit that is `scale` times as small."""
    v = y["v"] / p["scale"]
    return {
        "u": p["a1"] / (1 + v ** p["beta"]) - y["u"],
        "v": p["scale"] * (inputs["a2"] / (1 + y["u"] ** p["gamma"]) - v),
    }


def toggle_start(p, inputs):
    return {"u": 0.0 * p["a1"], "v": p["scale"] * inputs["a2"]}


def brusselator_initial(p, inputs):
    return {"x": p["A"], "z": p["A"]}


def brusselator(t, y, p, inputs):
    x, z = y["x"], y["z"]
    return {"x": p["A"] - (p["B"] + 1) * x + x * x * z, "z": p["B"] * x - x * x * z}


def cycle_initial(p, inputs):
    return {"U": inputs["total"], "P": 0.0 * inputs["total"]}


def cycle(t, y, p, inputs):
    """A protein that modifies itself, in a closed cycle: the total is conserved."""
    on = (p["k0"] + p["k1"] * y["P"] ** 2 / (1 + y["P"] ** 2)) * y["U"]
    return {"U": p["k2"] * y["P"] - on, "P": on - p["k2"] * y["P"]}


def one(p, inputs):
    return {"x": jnp.ones(())}


def circle(t, y, p, inputs):
    return {"x": 1 - p["m"] ** 2 - y["x"] ** 2}


def pitchfork(t, y, p, inputs):
    return {"x": p["m"] * y["x"] - y["x"] ** 3}


def linear(t, y, p, inputs):
    return {"x": p["m"] - y["x"]}


def growth(t, y, p, inputs):
    return {"x": 1 + p["m"] ** 2 + y["x"] ** 2}


def rooted(t, y, p, inputs):
    return {"x": p["m"] - jnp.sqrt(y["x"])}


def forced(t, y, p, inputs):
    return {"x": p["m"] * jnp.cos(t) - y["x"]}


def volumes_initial(p, inputs):
    return {"c": p["total"], "d": 0.0 * p["total"]}


def volumes(t, y, p, inputs):
    flux = p["k"] * (y["c"] - p["K"] * y["d"])
    return {"c": -flux / p["v"], "d": flux}


def cascade(t, y, p, inputs):
    """A switch in four steps, m -> E -> D -> P -> m; m and P are measured in units of their own."""
    m, P = y["m"] / inputs["um"], y["P"] / inputs["uP"]
    return {
        "m": inputs["um"] * (p["a"] + p["b"] * P**2 / (1 + P**2) - m),
        "E": m - y["E"],
        "D": y["E"] - y["D"],
        "P": inputs["uP"] * (y["D"] - P),
    }


def cascade_start(p, inputs):
    start = inputs["start"]
    return {"m": start * inputs["um"], "E": start, "D": start, "P": start * inputs["uP"]}


def squares(t, y, p, inputs):
    """Two states that do not feel the parameter where x is zero, the start; q is measured in a unit of its own."""
    q = y["q"] / inputs["unit"]
    return {"x": p["m"] - y["x"], "q": inputs["unit"] * (y["x"] ** 2 - q), "r": q**2 - y["r"]}


def nothing(p, inputs):
    return dict.fromkeys("xqr", 0.0)


REPRESSILATOR = uq.Ode(ones_pqr, repressilator)
TOGGLE = uq.Ode(toggle_start, toggle)
BRUSSELATOR = uq.Ode(brusselator_initial, brusselator)
CYCLE = uq.Ode(cycle_initial, cycle)
CIRCLE, PITCHFORK, LINEAR, GROWTH, ROOTED, FORCED = (
    uq.Ode(one, rhs) for rhs in (circle, pitchfork, linear, growth, rooted, forced)
)
VOLUMES = uq.Ode(volumes_initial, volumes)
SQUARES, CASCADE = uq.Ode(nothing, squares), uq.Ode(cascade_start, cascade)
# tolerances for units of 1e-12
FINE_CASCADE = uq.Ode(cascade_start, cascade, atol=1e-20)
# units of m and of P
UNITS = [(1.0, 1e9), (1e-12, 1e9), (1e-12, 1.0), (1e3, 1e-6)]
CASCADE_AT = {"a": 0.0, "b": 3.0}
TOGGLE_AT = {"a1": 1.0, "beta": 2.5, "gamma": 2.0, "scale": 1.0}
CYCLE_AT = {"k0": 0.02, "k1": 1.0, "k2": 1.0}


def switch_at(b, basal=0.0):
    return {"b": b, "basal": basal}


def switch_fold(b, x, basal=0.0):
    return fold(SWITCH, switch_at(b, basal), REST, parameter="a", guess={"x": x})


def toggle_folds(a2=6.0, beta=2.5, gamma=2.0):
    """(u, v, a1) at the extremes of a1(u) = u (1 + v^beta), v = a2 / (1 + u^gamma)."""

    def v(u):
        return a2 / (1 + u**gamma)

    def slope(u):
        down = -a2 * gamma * u ** (gamma - 1) / (1 + u**gamma) ** 2
        return 1 + v(u) ** beta + u * beta * v(u) ** (beta - 1) * down

    roots = [brentq(slope, *ends, xtol=1e-15) for ends in ((0.1, 1.0), (2.0, 4.0))]
    return [(u, v(u), u * (1 + v(u) ** beta)) for u in roots]


def of_kind(branch, name, kind):
    return branch[name].values[branch.kind.values == kind]


def cycle_folds():
    """Extremes of total(P) = P + k2 P / g(P), the equilibria solved for the total."""

    def slope(P):
        g, rise = 0.02 + P**2 / (1 + P**2), 2 * P / (1 + P**2) ** 2
        return 1 + (g - P * rise) / g**2

    places = [brentq(slope, *ends, xtol=1e-15) for ends in ((0.1, 0.3), (0.4, 1.0))]
    return [(P, P + P / (0.02 + P**2 / (1 + P**2))) for P in places]
