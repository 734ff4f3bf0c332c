"""A promoter that switches on and off, and the mRNA that is made while it is on (Peccoud & Ycart 1995,
doi:10.1006/tpbi.1995.1027): expression in bursts.

At rest the mRNA is Poisson around a Beta-distributed mean. From its mean alone no rate of the promoter can be known,
from its `moments` or its distribution they can.
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic

space = Space(
    k_on=epistemic(LogNormal(median=0.5, sigma=0.5), "1/h", "switching on"),
    k_off=epistemic(LogNormal(median=1.0, sigma=0.5), "1/h", "switching off"),
    r=epistemic(LogNormal(median=20.0, sigma=0.5), "1/h", "transcription while on"),
    d=epistemic(LogNormal(median=1.0, sigma=0.2), "1/h", "loss of one mRNA"),
)


def propensities(y, p, inputs):
    return {
        "switch on": p["k_on"] * (1 - y["G"]),
        "switch off": p["k_off"] * y["G"],
        "transcribe": p["r"] * y["G"],
        "lose mRNA": p["d"] * y["M"],
    }


def mean_of_mrna(y, p):
    return {"mRNA": y["M"]}


def mean_and_variance(y, p):
    return {"mRNA": y["M"], "variance": y["var_M"]}


stoichiometry = {"switch on": {"G": 1}, "switch off": {"G": -1}, "transcribe": {"M": 1}, "lose mRNA": {"M": -1}}
network = Reactions({"G": 0, "M": 0}, stoichiometry, propensities)
model = Model(space, network.ode(), mean_of_mrna, {"mRNA": ""}, name="telegraph gene", time_unit="h")
moments = Model(space, network.moments(), mean_and_variance, dict.fromkeys(("mRNA", "variance"), ""),
                name="telegraph gene, moments", time_unit="h")  # fmt: skip
trajectory = Model(space, network.jumps(), mean_of_mrna, {"mRNA": ""}, name="telegraph gene, one cell", time_unit="h")
