"""Molecules that meet in pairs and are gone, in a volume V: where mass action comes from (Kurtz 1972,
doi:10.1063/1.1678692).

A pair reacts with k / V (A^2 - A), and V x0 molecules are there at the start. As V grows a path of the concentration
differs from mass action, x0 / (1 + 2 k x0 t), by V^(-1/2), and its mean by V^(-1). `model` is mass action, `trajectory`
one path.
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic, fixed

space = Space(
    k=epistemic(LogNormal(median=0.5, sigma=0.3), "um^3/h", "reaction of a pair"),
    V=fixed(50.0, "um^3", "volume"),
    x0=fixed(2.0, "1/um^3", "concentration at the start"),
)


def propensities(y, p, inputs):
    return {"meet": p["k"] / p["V"] * (y["A"] * y["A"] - y["A"])}


def initial(p, inputs):
    return {"A": p["V"] * p["x0"]}


def concentration(y, p):
    return {"A": y["A"] / p["V"]}


network = Reactions(["A"], {"meet": {"A": -2}}, propensities, initial)
model = Model(space, network.ode(volume="V"), units={"A": "1/um^3"}, name="mass action", time_unit="h")
trajectory = Model(space, network.jumps(), concentration, {"A": "1/um^3"}, name="molecules that meet in pairs",
                   time_unit="h")  # fmt: skip
