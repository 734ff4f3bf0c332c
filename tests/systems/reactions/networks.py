"""Networks that several tests ask about, written as a user would."""

import uqbench as uq


def _birth_death(y, p, inputs):
    return {"birth": p["k"], "death": p["g"] * y["X"]}


def _dimerisation(y, p, inputs):
    return {"bind": p["c"] / p["V"] * y["A"] * (y["A"] - 1), "part": p["u"] * y["B"]}


def _telegraph(y, p, inputs):
    return {"on": p["kon"] * (1 - y["G"]), "off": p["koff"] * y["G"], "make": p["r"] * y["G"], "lose": p["d"] * y["M"]}


def _two_stage(y, p, inputs):
    return {"tx": p["km"], "md": p["gm"] * y["M"], "tl": p["kp"] * y["M"], "pd": p["gp"] * y["P"]}


birth_death = uq.Reactions({"X": 0}, {"birth": {"X": 1}, "death": {"X": -1}}, _birth_death)
dimerisation = uq.Reactions({"A": "A0", "B": 0}, {"bind": {"A": -2, "B": 1}, "part": {"A": 2, "B": -1}}, _dimerisation)
telegraph = uq.Reactions(
    {"G": 0, "M": 0}, {"on": {"G": 1}, "off": {"G": -1}, "make": {"M": 1}, "lose": {"M": -1}}, _telegraph
)
two_stage = uq.Reactions(
    {"M": 0, "P": 0}, {"tx": {"M": 1}, "md": {"M": -1}, "tl": {"P": 1}, "pd": {"P": -1}}, _two_stage
)


def space(**values) -> uq.Space:
    """Lognormal priors around these values."""
    return uq.Space({name: uq.epistemic(uq.LogNormal(median=value, sigma=0.3)) for name, value in values.items()})


RATES = space(k=10.0, g=1.0)
PROMOTER = space(kon=0.5, koff=1.0, r=20.0, d=1.0)
STAGES = space(km=2.0, gm=0.2, kp=1.0, gp=0.02)
PAIRS = uq.Space({**space(c=1.0, u=1.0), "V": uq.fixed(3.0), "A0": uq.fixed(30.0)})
