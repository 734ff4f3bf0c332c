"""Cells that secrete, scaled up to a tissue: the smallest model with both kinds of uncertainty.

C' = s q - k C with C(0) = 0, steady state C* = (s / k) q. The secretion rate q differs from cell to cell (aleatory),
the factor s that couples the scales is one unknown number (epistemic). Of the steady state only s/k can be known; the
transient gives k too. `model` is the transient; `steady` the closed form of its limit.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Normal, Ode, Space, aleatory, epistemic, fixed

space = Space(
    s=epistemic(LogNormal(mu=0.0, sigma=0.3), "", "coupling of cell to tissue scale"),
    q=aleatory(Normal(10.0, 2.0), "nM/h", "secretion rate of a cell"),
    k=fixed(0.5, "1/h", "clearance rate"),
)


def initial(p, inputs):
    return {"C": jnp.zeros(())}


def rhs(t, y, p, inputs):
    return {"C": p["s"] * p["q"] - p["k"] * y["C"]}


def observe(y, p):
    return {"C": y["C"]}


def steady_state(theta, design, key):
    return {"C": theta["s"] * theta["q"] / theta["k"]}


model = Model(space, Ode(initial, rhs), observe, units={"C": "nM"}, name="secretion", time_unit="h")
steady = Model.from_function(space, steady_state, units={"C": "nM"}, name="secretion at steady state", dims={"C": ()})
