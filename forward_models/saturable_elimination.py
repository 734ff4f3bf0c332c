"""A drug whose elimination saturates: at low concentrations only the ratio of its two constants shows.

One compartment of volume V, given a dose at time 0: C' = -Vmax C / (Km + C), C(0) = dose / V. While C is far below Km
this is C' = -(Vmax / Km) C: the decay has one rate, and measurements with noise tell Vmax / Km but neither alone,
though the equations allow both to be known. Far above Km the drug leaves at the rate Vmax, whatever Km is.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Normal, Ode, Space, epistemic, fixed

space = Space(
    Vmax=epistemic(LogNormal(median=4.0, sigma=1.0), "mg/L/h", "largest rate of elimination"),
    Km=epistemic(LogNormal(median=8.0, sigma=1.0), "mg/L", "concentration at half of it"),
    V=epistemic(LogNormal(median=10.0, sigma=0.5), "L", "volume of distribution"),
    sigma=fixed(0.005, "mg/L", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"C": inputs["dose"] / p["V"]}


def rhs(t, y, p, inputs):
    return {"C": -p["Vmax"] * y["C"] / (p["Km"] + y["C"])}


def observe(y, p):
    return {"C": y["C"]}


model = Model(
    space=space,
    system=Ode(initial, rhs),
    observe=observe,
    units={"C": "mg/L"},
    noise={"C": Normal("C", "sigma")},
    name="saturable_elimination",
    time_unit="h",
)


def concentration(times, dose, Vmax, Km, V):
    """The solution `(times,)`, mg/L: the root of log C + C / Km = log C0 + (C0 - Vmax t) / Km, by Newton's method."""
    start = dose / V
    right = jnp.log(start) + (start - Vmax * jnp.asarray(times)) / Km
    # in log C the left side is convex and rising: from the right of the root every step stays there
    log = jnp.minimum(right, jnp.log(start))
    for _ in range(60):
        log = log - (log + jnp.exp(log) / Km - right) / (1.0 + jnp.exp(log) / Km)
    return jnp.exp(log)
