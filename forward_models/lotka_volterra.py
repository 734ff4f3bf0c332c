"""Predator and prey: two populations that drive each other round, with noise of their own on what is counted.

u' = (alpha - beta v) u, v' = (-gamma + delta u) v: prey u grows and is eaten, predator v starves and feeds (Lotka 1925;
Volterra 1926). The starts are unknown and the first counts are as noisy as the others. Priors are those of the Stan
case study of the Hudson's Bay pelts (Carpenter 2018, Predator-prey population dynamics: the Lotka-Volterra model in
Stan): normal and truncated at zero for the rates, lognormal for starts and noise.
"""

import numpy as np

from uqbench import LogNormal, Model, Ode, Space, TruncatedNormal, epistemic

# normal, as far as it is positive
growth, contact = TruncatedNormal(1.0, 0.5, lower=0.0), TruncatedNormal(0.05, 0.05, lower=0.0)
start, error = LogNormal(mu=np.log(10.0), sigma=1.0), LogNormal(mu=-1.0, sigma=1.0)
space = Space(
    alpha=epistemic(growth, "1/year", "growth of the prey by itself"),
    beta=epistemic(contact, "1/year", "prey eaten, by thousand predators"),
    gamma=epistemic(growth, "1/year", "decline of the predator by itself"),
    delta=epistemic(contact, "1/year", "predators born, by thousand prey"),
    u0=epistemic(start, "", "prey at the start, thousands"),
    v0=epistemic(start, "", "predators at the start, thousands"),
    sigma_u=epistemic(error, "", "standard deviation of the logarithm of counted prey"),
    sigma_v=epistemic(error, "", "standard deviation of the logarithm of counted predators"),
)


def initial(p, inputs):
    return {"u": p["u0"], "v": p["v0"]}


def rhs(t, y, p, inputs):
    u, v = y["u"], y["v"]
    return {"u": (p["alpha"] - p["beta"] * v) * u, "v": (p["delta"] * u - p["gamma"]) * v}


def observe(y, p):
    return {"prey": y["u"], "predator": y["v"]}


model = Model(
    space=space,
    system=Ode(initial, rhs),
    observe=observe,
    units={"prey": "", "predator": ""},
    noise={
        "prey": LogNormal(median="prey", sigma="sigma_u"),
        "predator": LogNormal(median="predator", sigma="sigma_v"),
    },
    name="lotka_volterra",
    time_unit="year",
)
