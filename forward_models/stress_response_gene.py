"""A gene that answers osmotic stress with a pulse of transcription, counted molecule by molecule in fixed cells.

STL1 of yeast after NaCl: the promoter is a telegraph whose switching on follows the nuclear kinase, which enters after
some minutes and leaves the later the more salt there was (Neuert et al. 2013, doi:10.1126/science.1231456; Li & Neuert
2019, doi:10.1038/s41597-019-0106-6). In a snapshot every cell is another one: what is measured is one draw from the
distribution of the mRNA, the solution of the master equation, and has no noise of its own. `trajectory` is one cell,
`means` are the rate equations.
"""

import jax

from uqbench import LogNormal, Model, Reactions, Space, epistemic


def rate(median, sigma, doc):
    return epistemic(LogNormal(median=median, sigma=sigma), "1/min", doc)


def minutes(median, doc):
    return epistemic(LogNormal(median=median, sigma=0.7), "min", doc)


space = Space(
    basal=rate(0.003, 1.5, "switching on without stress"),
    k_on=rate(1.0, 1.0, "switching on under stress"),
    k_off=rate(1.0, 1.0, "switching off"),
    leak=rate(0.02, 1.0, "transcription while off"),
    r=rate(15.0, 0.4, "transcription while on"),
    d=rate(0.3, 0.3, "loss of one mRNA"),
    begin=minutes(2.0, "when the stress has reached the promoter"),
    end_weak=minutes(10.0, "when it has gone, 0.2 M NaCl"),
    end_strong=minutes(20.0, "the same, 0.4 M NaCl"),
    width=minutes(1.0, "of its rise and fall"),
)
# molar; the strong stress is twice that
WEAK = 0.2


def propensities(t, y, p, inputs):
    end = p["end_weak"] + (inputs["salt"] / WEAK - 1.0) * (p["end_strong"] - p["end_weak"])
    stress = jax.nn.sigmoid((t - p["begin"]) / p["width"]) * jax.nn.sigmoid((end - t) / p["width"])
    return {
        "switch on": (p["basal"] + p["k_on"] * stress) * (1 - y["G"]),
        "switch off": p["k_off"] * y["G"],
        "transcribe": p["leak"] + p["r"] * y["G"],
        "lose mRNA": p["d"] * y["M"],
    }


def observe(y, p):
    return {"mRNA": y["M"]}


stoichiometry = {"switch on": {"G": 1}, "switch off": {"G": -1}, "transcribe": {"M": 1}, "lose mRNA": {"M": -1}}
network = Reactions({"G": 0, "M": 0}, stoichiometry, propensities)
model = Model(space, network.master_equation(bounds={"G": 1, "M": 150}), observe, {"mRNA": ""},
              name="stress response gene", time_unit="min")  # fmt: skip
trajectory = Model(space, network.jumps(), observe, {"mRNA": ""}, name="stress response gene, one cell",
                   time_unit="min")  # fmt: skip
means = Model(space, network.ode(), observe, {"mRNA": ""}, name="stress response gene, means", time_unit="min")
