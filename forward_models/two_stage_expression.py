"""Transcription and translation: noise of the mRNA amplified in the protein (Thattai & van Oudenaarden 2001,
doi:10.1073/pnas.151588598).

Linear, so that linear noise is exact: at rest the protein has the mean km kp / (gm gp) and the Fano factor
1 + kp / (gm + gp).
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic

space = Space(
    km=epistemic(LogNormal(median=2.0, sigma=0.3), "1/min", "transcription"),
    gm=epistemic(LogNormal(median=0.2, sigma=0.3), "1/min", "loss of one mRNA"),
    kp=epistemic(LogNormal(median=1.0, sigma=0.3), "1/min", "translation of one mRNA"),
    gp=epistemic(LogNormal(median=0.02, sigma=0.3), "1/min", "loss of one protein"),
)


def propensities(y, p, inputs):
    return {
        "transcribe": p["km"],
        "lose mRNA": p["gm"] * y["M"],
        "translate": p["kp"] * y["M"],
        "lose protein": p["gp"] * y["P"],
    }


def observe(y, p):
    return {"mRNA": y["M"], "protein": y["P"], "variance": y["var_P"]}


stoichiometry = {"transcribe": {"M": 1}, "lose mRNA": {"M": -1}, "translate": {"P": 1}, "lose protein": {"P": -1}}
network = Reactions({"M": 0, "P": 0}, stoichiometry, propensities)
model = Model(space, network.linear_noise(), observe, dict.fromkeys(("mRNA", "protein", "variance"), ""),
              name="two-stage expression", time_unit="min")  # fmt: skip
trajectory = Model(space, network.jumps(), units=dict.fromkeys(("M", "P"), ""), name="two-stage expression, one cell",
                   time_unit="min")  # fmt: skip
