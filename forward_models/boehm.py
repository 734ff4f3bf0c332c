"""STAT5 in the nucleus, by kind of dimer: phosphorylated under Epo, it pairs, goes in, and comes out as monomers.

Boehm, Adlung, Schilling, Roth, Klingmueller & Lehmann 2014, J. Proteome Res. 13, 5685, doi:10.1021/pr5006923;
bounds and values of the best fit as in the benchmarks of Hass et al. 2019, doi:10.1093/bioinformatics/btz020. With A
and B for STAT5A and STAT5B in the cytoplasm, the stimulus Epo(t) = 1.25e-7 exp(-Epo_degradation_BaF3 t), and the
volumes cyt = 1.4 pL and nuc = .45 pL:

    A' = -2 k_phos Epo A^2 - k_phos Epo A B + (nuc/cyt) (2 k_exp_homo nucpApA + k_exp_hetero nucpApB), and B' likewise
    pApA' = k_phos Epo A^2 - k_imp_homo pApA             nucpApA' = (cyt/nuc) k_imp_homo pApA - k_exp_homo nucpApA
    pApB' = k_phos Epo A B - k_imp_hetero pApB           nucpApB' = (cyt/nuc) k_imp_hetero pApB - k_exp_hetero nucpApB

and pBpB as pApA. Mass spectrometry sees ratios in the cytoplasm alone, in percent: how much of A and of B is
phosphorylated, and the share of A in all STAT5 that an antibody binds, of which specC17 says how well it binds A.
The priors are the published bounds. At the best fit of the published data homodimers leave the cytoplasm as soon as
they form: k_imp_homo has no upper limit, k_exp_hetero no lower one.
"""

import jax.numpy as jnp

from uqbench import LogUniform, Model, Normal, Ode, Space, epistemic, fixed

CYTOPLASM, NUCLEUS = 1.4, 0.45  # pL
EPO = 1.25e-7  # at time 0
TOTAL = 207.6  # STAT5A and STAT5B together
# Where the published data are fitted best.
PUBLISHED = {
    "Epo_degradation_BaF3": 0.026982514033029,
    "k_exp_hetero": 1.00067973851508e-05,
    "k_exp_homo": 0.006170228086381,
    "k_imp_hetero": 0.0163679184468,
    "k_imp_homo": 97749.3794024716,
    "k_phos": 15766.5070195731,
    "sd_pSTAT5A_rel": 3.85261197844677,
    "sd_pSTAT5B_rel": 6.59147818673419,
    "sd_rSTAT5A_rel": 3.15271275648527,
}
BOUNDS = LogUniform(1e-5, 1e5)

space = Space(
    Epo_degradation_BaF3=epistemic(BOUNDS, "1/min", "decay of the stimulus"),
    k_exp_hetero=epistemic(BOUNDS, "1/min", "export of heterodimers from the nucleus"),
    k_exp_homo=epistemic(BOUNDS, "1/min", "export of homodimers"),
    k_imp_hetero=epistemic(BOUNDS, "1/min", "import of heterodimers into the nucleus"),
    k_imp_homo=epistemic(BOUNDS, "1/min", "import of homodimers"),
    k_phos=epistemic(BOUNDS, "1/min", "phosphorylation, for one unit of Epo and one of STAT5"),
    sd_pSTAT5A_rel=epistemic(BOUNDS, "percent", "standard deviation of a measurement of pSTAT5A"),
    sd_pSTAT5B_rel=epistemic(BOUNDS, "percent", "standard deviation of a measurement of pSTAT5B"),
    sd_rSTAT5A_rel=epistemic(BOUNDS, "percent", "standard deviation of a measurement of rSTAT5A"),
    ratio=fixed(0.693, "", "share of STAT5A in all STAT5"),
    specC17=fixed(0.107, "", "specificity of the antibody for STAT5A"),
)


def initial(p, inputs):
    absent = jnp.zeros(())
    return {
        "STAT5A": TOTAL * p["ratio"],
        "STAT5B": TOTAL * (1.0 - p["ratio"]),
        **dict.fromkeys(("pApA", "pApB", "pBpB", "nucpApA", "nucpApB", "nucpBpB"), absent),
    }


def rhs(t, y, p, inputs):
    phosphorylation = p["k_phos"] * EPO * jnp.exp(-p["Epo_degradation_BaF3"] * t)
    pairing = {
        "pApA": phosphorylation * y["STAT5A"] ** 2,
        "pApB": phosphorylation * y["STAT5A"] * y["STAT5B"],
        "pBpB": phosphorylation * y["STAT5B"] ** 2,
    }
    kinds = {"pApA": "homo", "pApB": "hetero", "pBpB": "homo"}
    entering = {dimer: p[f"k_imp_{kind}"] * y[dimer] for dimer, kind in kinds.items()}
    leaving = {dimer: p[f"k_exp_{kind}"] * y[f"nuc{dimer}"] for dimer, kind in kinds.items()}
    # what a dimer gives back, as a concentration in the cytoplasm, less what it takes
    gain = {dimer: NUCLEUS / CYTOPLASM * leaving[dimer] - pairing[dimer] for dimer in kinds}
    return {
        "STAT5A": 2 * gain["pApA"] + gain["pApB"],
        "STAT5B": 2 * gain["pBpB"] + gain["pApB"],
        **{dimer: pairing[dimer] - entering[dimer] for dimer in kinds},
        **{f"nuc{dimer}": CYTOPLASM / NUCLEUS * entering[dimer] - leaving[dimer] for dimer in kinds},
    }


def observe(y, p):
    a, b = p["specC17"], 1.0 - p["specC17"]
    pairs_a, pairs_b, mixed = 2 * a * y["pApA"], 2 * b * y["pBpB"], y["pApB"]
    bound_a, bound_b = mixed + a * y["STAT5A"] + pairs_a, mixed + b * y["STAT5B"] + pairs_b
    return {
        "pSTAT5A_rel": 100 * (mixed + pairs_a) / bound_a,
        "pSTAT5B_rel": 100 * (mixed + pairs_b) / bound_b,
        "rSTAT5A_rel": 100 * bound_a / (bound_a + bound_b),
    }


outputs = ("pSTAT5A_rel", "pSTAT5B_rel", "rSTAT5A_rel")
model = Model(
    space=space,
    system=Ode(initial, rhs),
    observe=observe,
    units=dict.fromkeys(outputs, "percent"),
    noise={output: Normal(output, f"sd_{output}") for output in outputs},
    name="boehm",
    time_unit="min",
    nominal=PUBLISHED,
)
