"""A genetic oscillator that noise keeps going (Vilar, Kueh, Barkai & Leibler 2002, doi:10.1073/pnas.092133899).

An activator A makes itself and its repressor R, which binds it. At the published rates the rate equations oscillate;
where R is lost more slowly (dR = .05/h) they come to rest, while single cells go on. `model` are the rate equations,
`trajectory` is one cell.
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic, fixed

RATES = {
    "aA": (50.0, "transcription of A"),
    "aA1": (500.0, "the same with A at the promoter"),
    "aR": (0.01, "transcription of R"),
    "aR1": (50.0, "the same with A at the promoter"),
    "bA": (50.0, "translation of A"),
    "bR": (5.0, "translation of R"),
    "dMA": (10.0, "loss of the mRNA of A"),
    "dMR": (0.5, "loss of the mRNA of R"),
    "dA": (1.0, "loss of A"),
    "gA": (1.0, "binding of A to its promoter"),
    "gR": (1.0, "binding of A to the promoter of R"),
    "gC": (2.0, "binding of A to R"),
    "tA": (50.0, "unbinding of A from its promoter"),
    "tR": (100.0, "unbinding of A from the promoter of R"),
}
space = Space(
    {
        **{name: fixed(value, "1/h", doc) for name, (value, doc) in RATES.items()},
        "dR": epistemic(LogNormal(median=0.2, sigma=0.2), "1/h", "loss of R"),
        "gC": epistemic(LogNormal(median=2.0, sigma=0.2), "1/h", "binding of A to R"),
    }
)
stoichiometry = {
    "bind A": {"DA": -1, "DA1": 1, "A": -1},
    "leave A": {"DA": 1, "DA1": -1, "A": 1},
    "bind R": {"DR": -1, "DR1": 1, "A": -1},
    "leave R": {"DR": 1, "DR1": -1, "A": 1},
    "transcribe A": {"MA": 1},
    "transcribe A active": {"MA": 1},
    "lose MA": {"MA": -1},
    "translate A": {"A": 1},
    "transcribe R": {"MR": 1},
    "transcribe R active": {"MR": 1},
    "lose MR": {"MR": -1},
    "translate R": {"R": 1},
    "lose A": {"A": -1},
    "lose R": {"R": -1},
    "pair": {"A": -1, "R": -1, "C": 1},
    "lose A in pair": {"C": -1, "R": 1},
}


def propensities(y, p, inputs):
    return {
        "bind A": p["gA"] * y["DA"] * y["A"],
        "leave A": p["tA"] * y["DA1"],
        "bind R": p["gR"] * y["DR"] * y["A"],
        "leave R": p["tR"] * y["DR1"],
        "transcribe A": p["aA"] * y["DA"],
        "transcribe A active": p["aA1"] * y["DA1"],
        "lose MA": p["dMA"] * y["MA"],
        "translate A": p["bA"] * y["MA"],
        "transcribe R": p["aR"] * y["DR"],
        "transcribe R active": p["aR1"] * y["DR1"],
        "lose MR": p["dMR"] * y["MR"],
        "translate R": p["bR"] * y["MR"],
        "lose A": p["dA"] * y["A"],
        "lose R": p["dR"] * y["R"],
        "pair": p["gC"] * y["A"] * y["R"],
        "lose A in pair": p["dA"] * y["C"],
    }


species = {"DA": 1, "DA1": 0, "DR": 1, "DR1": 0, "MA": 0, "MR": 0, "A": 0, "R": 0, "C": 0}
network = Reactions(species, stoichiometry, propensities)
units = dict.fromkeys(("A", "R", "C"), "")
model = Model(space, network.ode(), units=units, name="genetic oscillator", time_unit="h")
trajectory = Model(space, network.jumps(), units=units, name="genetic oscillator, one cell", time_unit="h")
