"""A slow species that meets its own past: fast partners that oscillate are a memory, and forgetting them costs.

    y' = -delta y - k x1,     eps x1' = y - r1 x1 - w x2,     eps x2' = w x1 - r2 x2,     y(0) = dose, x1 = x2 = 0,

all as deviations from a steady state. The slow species y makes x1, which removes it; x1 and x2 exchange. Without x1 and
x2 the equation of y has a memory, y'(t) = -delta y(t) - int_0^t K(s) y(t-s) ds, and the exchange makes it oscillate:

    K(s) = k/eps e^(-m s/eps) (cos(v s/eps) + c/v sin(v s/eps)),    m = (r1 + r2)/2, c = (r2 - r1)/2, v^2 = w^2 - c^2.

`model` is the full system. `embedded` carries the two modes of K in a block [[-m, -v^2], [1, -m]] that is a polynomial
in the parameters, so that it needs no root and holds also where the pair is not complex. `memoryless` lets K act at
once, y' = -(delta + k r2/(r1 r2 + w^2)) y: all that can be known from it is that one rate. The area under y is the same
in all three, dose / (delta + k r2/(r1 r2 + w^2)); when y is where is not.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Normal, Ode, Space, epistemic, fixed

space = Space(
    delta=epistemic(LogNormal(median=0.3, sigma=0.3), "1/h", "degradation rate of the slow species"),
    k=epistemic(LogNormal(median=2.0, sigma=0.3), "1/h", "removal of the slow species by the first fast one"),
    r1=epistemic(LogNormal(median=1.0, sigma=0.3), "1/h", "loss of the first fast species"),
    r2=epistemic(LogNormal(median=0.5, sigma=0.3), "1/h", "loss of the second fast species"),
    w=epistemic(LogNormal(median=2.0, sigma=0.3), "1/h", "exchange between the fast species"),
    eps=fixed(0.5, "", "ratio of the fast to the slow time scale"),
    sigma=fixed(0.02, "nM", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"y": inputs["dose"], "x1": jnp.zeros(()), "x2": jnp.zeros(())}


def rhs(t, y, p, inputs):
    return {
        "y": -p["delta"] * y["y"] - p["k"] * y["x1"],
        "x1": (y["y"] - p["r1"] * y["x1"] - p["w"] * y["x2"]) / p["eps"],
        "x2": (p["w"] * y["x1"] - p["r2"] * y["x2"]) / p["eps"],
    }


def embedded_initial(p, inputs):
    return {"y": inputs["dose"], "z1": jnp.zeros(()), "z2": jnp.zeros(())}


def embedded_rhs(t, y, p, inputs):
    decay, skew = (p["r1"] + p["r2"]) / 2, (p["r2"] - p["r1"]) / 2
    return {
        "y": -p["delta"] * y["y"] - p["k"] * (y["z1"] + skew * y["z2"]),
        "z1": (y["y"] - decay * y["z1"] - (p["w"] ** 2 - skew**2) * y["z2"]) / p["eps"],
        "z2": (y["z1"] - decay * y["z2"]) / p["eps"],
    }


def memoryless_initial(p, inputs):
    return {"y": inputs["dose"]}


def memoryless_rhs(t, y, p, inputs):
    return {"y": -(p["delta"] + p["k"] * p["r2"] / (p["r1"] * p["r2"] + p["w"] ** 2)) * y["y"]}


def observe(y, p):
    return {"concentration": y["y"]}


def observed(system, name):
    return Model(
        space=space,
        system=system,
        observe=observe,
        units={"concentration": "nM"},
        noise={"concentration": Normal("concentration", "sigma")},
        name=name,
        time_unit="h",
    )


model = observed(Ode(initial, rhs), "memory_kernel")
embedded = observed(Ode(embedded_initial, embedded_rhs), "memory_kernel as an embedding")
memoryless = observed(Ode(memoryless_initial, memoryless_rhs), "memory_kernel without memory")
