"""Two genes that repress each other (Gardner, Cantor & Collins 2000, doi:10.1038/35002131): two states, and noise that
carries a cell from one to the other.

`model` are the rate equations, in which a cell stays where it is; `trajectory` is one cell, which may switch.
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic, fixed

space = Space(
    a=epistemic(LogNormal(median=50.0, sigma=0.2), "1/h", "production without repression"),
    K=epistemic(LogNormal(median=15.0, sigma=0.2), "", "repressors for half of it"),
    n=fixed(2.0, "", "steepness of repression"),
    g=epistemic(LogNormal(median=1.0, sigma=0.2), "1/h", "loss of one molecule"),
    U0=fixed(50.0, "", "molecules of U at the start"),
    V0=fixed(5.0, "", "molecules of V at the start"),
)


def propensities(y, p, inputs):
    def production(repressor):
        return p["a"] / (1 + (repressor / p["K"]) ** p["n"])

    return {
        "make U": production(y["V"]),
        "lose U": p["g"] * y["U"],
        "make V": production(y["U"]),
        "lose V": p["g"] * y["V"],
    }


stoichiometry = {"make U": {"U": 1}, "lose U": {"U": -1}, "make V": {"V": 1}, "lose V": {"V": -1}}
network = Reactions({"U": "U0", "V": "V0"}, stoichiometry, propensities)
units = dict.fromkeys(("U", "V"), "")
model = Model(space, network.ode(), units=units, name="toggle switch", time_unit="h")
trajectory = Model(space, network.jumps(), units=units, name="toggle switch, one cell", time_unit="h")
