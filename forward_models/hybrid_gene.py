"""A promoter that switches at random and mRNA that follows its rate equation (Kurasov et al. 2018, arXiv:1803.10958):
what the promoter alone makes of the spread between cells.

With `feedback` = 0 the mRNA at rest is r / d times a Beta(k_on / d, k_off / d) number: the Poisson-Beta law of the
telegraph gene without its Poisson part, whose variance is larger by the mean. With feedback mRNA (as its protein in
fast balance would) switches its own promoter off, at the rate k_off (1 + feedback M).
"""

from uqbench import HalfNormal, LogNormal, Model, Reactions, Space, epistemic

space = Space(
    k_on=epistemic(LogNormal(median=0.5, sigma=0.5), "1/h", "switching on"),
    k_off=epistemic(LogNormal(median=1.0, sigma=0.5), "1/h", "switching off without mRNA"),
    r=epistemic(LogNormal(median=20.0, sigma=0.5), "1/h", "transcription while on"),
    d=epistemic(LogNormal(median=1.0, sigma=0.2), "1/h", "loss of one mRNA"),
    feedback=epistemic(HalfNormal(0.2), "", "by how much one mRNA speeds up switching off"),
)


def propensities(y, p, inputs):
    return {
        "switch on": p["k_on"] * (1 - y["G"]),
        "switch off": p["k_off"] * (1 + p["feedback"] * y["M"]) * y["G"],
        "transcribe": p["r"] * y["G"],
        "lose mRNA": p["d"] * y["M"],
    }


def observe(y, p):
    return {"mRNA": y["M"]}


stoichiometry = {"switch on": {"G": 1}, "switch off": {"G": -1}, "transcribe": {"M": 1}, "lose mRNA": {"M": -1}}
network = Reactions({"G": 0, "M": 0}, stoichiometry, propensities)
model = Model(space, network.hybrid(["G"]), observe, {"mRNA": ""}, name="hybrid gene", time_unit="h")
trajectory = Model(space, network.jumps(), observe, {"mRNA": ""}, name="hybrid gene, all molecules", time_unit="h")
