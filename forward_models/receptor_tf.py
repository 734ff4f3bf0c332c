"""A fast receptor drives a slow transcription factor: the smallest system with two separate time scales.

eps x' = L (1 - x) - Kd x,   y' = beta x - delta y,   x(0) = y(0) = 0.

The receptor x reaches L / (L + Kd) within eps / (L + Kd); the transcription factor y follows over 1 / delta. An
explicit method has to resolve the first for as long as one looks at the second. `reduced` has the receptor in its
quasi-steady state, y' = beta L / (L + Kd) - delta y, to an error of -.0182411 eps in y(5). There eps has fallen out; it
stays only as the place where the time scales are judged.
"""

import jax.numpy as jnp

from uqbench import LogNormal, LogUniform, Model, Normal, Ode, Space, epistemic, fixed

space = Space(
    eps=epistemic(LogUniform(1e-6, 1e-1), "", "ratio of the fast to the slow time scale"),
    L=epistemic(LogNormal(median=2.0, sigma=0.3), "1/min", "ligand binding rate"),
    Kd=epistemic(LogNormal(median=1.0, sigma=0.3), "1/min", "dissociation rate"),
    beta=epistemic(LogNormal(median=1.0, sigma=0.3), "nM/min", "production by an occupied receptor"),
    delta=epistemic(LogNormal(median=0.5, sigma=0.3), "1/min", "degradation rate"),
    sigma=epistemic(LogNormal(median=0.05, sigma=0.5), "nM", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"x": jnp.zeros(()), "y": jnp.zeros(())}


def rhs(t, y, p, inputs):
    return {
        "x": (p["L"] * (1 - y["x"]) - p["Kd"] * y["x"]) / p["eps"],
        "y": p["beta"] * y["x"] - p["delta"] * y["y"],
    }


def observe(y, p):
    return {"x": y["x"], "y": y["y"]}


model = Model(
    space=space,
    system=Ode(initial, rhs, rtol=1e-9, atol=1e-10),
    observe=observe,
    units={"x": "", "y": "nM"},
    noise={"y": Normal("y", "sigma")},
    name="receptor_tf",
    time_unit="min",
)

reduced = model.reduced(["x"], space=Space({**space, "eps": fixed(1e-2, "", "ratio of the time scales, where judged")}))
