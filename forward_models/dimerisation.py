"""Two equal molecules bind and part: the simplest network of second degree, so that no moments are in closed form.

A pair of A binds with c/V A (A - 1); in a large volume that is c a^2 of concentrations, `mass_action`. `model` closes
the moments as those of normal numbers, `trajectory` is one path.
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic, fixed

space = Space(
    c=epistemic(LogNormal(median=1.0, sigma=0.3), "um^3/h", "binding"),
    u=epistemic(LogNormal(median=1.0, sigma=0.3), "1/h", "parting of a pair"),
    V=fixed(3.0, "um^3", "volume"),
    A0=fixed(30.0, "", "molecules at the start"),
)


def propensities(y, p, inputs):
    return {"bind": p["c"] / p["V"] * y["A"] * (y["A"] - 1), "part": p["u"] * y["B"]}


def mean_and_variance(y, p):
    return {"mean": y["A"], "variance": y["var_A"]}


network = Reactions({"A": "A0", "B": 0}, {"bind": {"A": -2, "B": 1}, "part": {"A": 2, "B": -1}}, propensities)
model = Model(space, network.moments(), mean_and_variance, dict.fromkeys(("mean", "variance"), ""),
              name="dimerisation", time_unit="h")  # fmt: skip
mass_action = Model(space, network.ode(volume="V"), units=dict.fromkeys(("A", "B"), "1/um^3"),
                    name="dimerisation by mass action", time_unit="h")  # fmt: skip
trajectory = Model(space, network.jumps(), units=dict.fromkeys(("A", "B"), ""), name="dimerisation, one path",
                   time_unit="h")  # fmt: skip
