"""An enzyme and its substrate: the mechanism, and the two quasi-steady states that are made of it.

E + S <-> C -> E + P with rates kon, koff, kcat and E + C = E0. The complex C settles within 1 / (kon S + koff + kcat).
With C at rest and the substrate as slow state, the standard quasi-steady state, S' = -Vm S / (Km + S): Vm = kcat E0,
Km = (koff + kcat) / kon; it supposes that hardly any substrate is bound. With the total T = S + C as slow state the
binding itself does not change what is slow: the total quasi-steady state holds in a far wider range.

`model` and `total_mechanism` are the same mechanism in S, C and in T, C; `standard` and `total` their reductions. While
the substrate is hardly used up the velocity is that of a substrate held as it is: `velocity`, of which `hyperbola` is
the reduction in the two numbers that it leaves. `validity` says how small what was neglected is.
"""

import jax.numpy as jnp

from uqbench import HalfNormal, LogNormal, Model, Normal, Ode, Space, epistemic

rates = {
    "kon": epistemic(LogNormal(median=1.0, sigma=0.5), "1/(uM*min)", "binding of substrate to enzyme"),
    "koff": epistemic(LogNormal(median=1.0, sigma=0.5), "1/min", "release of the substrate unchanged"),
    "kcat": epistemic(LogNormal(median=1.0, sigma=0.5), "1/min", "release as product"),
}
space = Space(
    **rates,
    E0=epistemic(LogNormal(median=0.1, sigma=0.5), "uM", "total enzyme"),
    sigma=epistemic(HalfNormal(0.1), "uM", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"S": inputs["S0"], "C": jnp.zeros(()), "P": jnp.zeros(())}


def rhs(t, y, p, inputs):
    binding = p["kon"] * (p["E0"] - y["C"]) * y["S"]
    release, product = p["koff"] * y["C"], p["kcat"] * y["C"]
    return {"S": release - binding, "C": binding - release - product, "P": product}


def initial_total(p, inputs):
    return {"T": inputs["S0"], "C": jnp.zeros(()), "P": jnp.zeros(())}


def rhs_total(t, y, p, inputs):
    free, product = y["T"] - y["C"], p["kcat"] * y["C"]
    binding = p["kon"] * (p["E0"] - y["C"]) * free
    return {"T": -product, "C": binding - p["koff"] * y["C"] - product, "P": product}


def observe(y, p):
    return {"P": y["P"], "C": y["C"]}


def mechanism(initial, rhs, name):
    return Model(
        space=space,
        system=Ode(initial, rhs),
        observe=observe,
        units={"P": "uM", "C": "uM"},
        noise={"P": Normal("P", "sigma")},
        name=name,
        time_unit="min",
    )


model = mechanism(initial, rhs, "michaelis_menten")
total_mechanism = mechanism(initial_total, rhs_total, "michaelis_menten in totals")
standard = model.reduced(["C"], name="michaelis_menten, standard quasi-steady state")
total = total_mechanism.reduced(["C"], name="michaelis_menten, total quasi-steady state")


def initial_velocity(p, inputs):
    return {"C": jnp.zeros(())}


def rhs_velocity(t, y, p, inputs):
    return {"C": p["kon"] * (p["E0"] - y["C"]) * inputs["S"] - (p["koff"] + p["kcat"]) * y["C"]}


def observe_velocity(y, p):
    return {"v": p["kcat"] * y["C"]}


velocity = Model(
    space=space,
    system=Ode(initial_velocity, rhs_velocity),
    observe=observe_velocity,
    units={"v": "uM/min"},
    noise={"v": Normal("v", "sigma")},
    name="michaelis_menten, substrate held",
    time_unit="min",
)


def start_hyperbola(p, inputs):
    return {"P": jnp.zeros(())}


def rhs_hyperbola(t, y, p, inputs):
    return {"P": p["Vm"] * inputs["S"] / (p["Km"] + inputs["S"])}


def algebraic_hyperbola(t, y, p, inputs):
    return {"v": rhs_hyperbola(t, y, p, inputs)["P"]}


def observe_hyperbola(y, p):
    return {"v": y["v"]}


hyperbola = Model(
    space=Space(
        Vm=epistemic(LogNormal(median=0.1, sigma=0.7), "uM/min", "largest velocity, kcat E0"),
        Km=epistemic(LogNormal(median=2.0, sigma=0.7), "uM", "substrate at half of it, (koff + kcat) / kon"),
        sigma=epistemic(HalfNormal(0.1), "uM/min", "standard deviation of a measurement"),
    ),
    system=Ode(start_hyperbola, rhs_hyperbola, algebraic=algebraic_hyperbola),
    observe=observe_hyperbola,
    units={"v": "uM/min"},
    noise={"v": Normal("v", "sigma")},
    name="michaelis_menten, velocity",
    time_unit="min",
)


def validity(theta, S0):
    """What each reduction neglects: numbers that must be small against 1.

    Args:
        theta: kon, koff, kcat, E0. S0: substrate at the start, uM.

    Returns:
        `standard`: E0 / (Km + S0), the share of the substrate that the first binding takes (Segel & Slemrod 1989,
        doi:10.1137/1031091); `total`: kcat E0 / (kon (E0 + Km + S0)^2) (Borghans, de Boer & Segel 1996,
        doi:10.1007/BF02458281), small wherever the first is, and never above 1/4.
    """
    Km = (theta["koff"] + theta["kcat"]) / theta["kon"]
    return {
        "standard": theta["E0"] / (Km + S0),
        "total": theta["kcat"] * theta["E0"] / (theta["kon"] * (theta["E0"] + Km + S0) ** 2),
    }
