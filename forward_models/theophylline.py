"""Oral theophylline: one compartment with first-order absorption, in subjects who differ.

The dose enters the gut and is absorbed at rate ka; the plasma concentration falls by clearance CL out of the volume
V. Dose, clearance and volume are per kg of body weight. Swapping ka and CL/V with a matching V gives the same
concentrations (flip-flop), so ka and V are locally but not globally identifiable; the priors hold them on the side ka
> CL/V.
"""

import jax.numpy as jnp

from uqbench import HalfNormal, LogNormal, Model, Normal, Ode, Space, aleatory, epistemic

space = Space(
    ka_median=epistemic(LogNormal(median=1.5, sigma=0.7), "1/h", "absorption rate of the median subject"),
    CL_median=epistemic(LogNormal(median=0.04, sigma=0.7), "L/h/kg", "clearance of the median subject"),
    V_median=epistemic(LogNormal(median=0.5, sigma=0.7), "L/kg", "volume of distribution of the median subject"),
    ka_sd=epistemic(HalfNormal(1.0), "", "standard deviation of log ka between subjects"),
    CL_sd=epistemic(HalfNormal(0.5), "", "standard deviation of log CL between subjects"),
    V_sd=epistemic(HalfNormal(0.5), "", "standard deviation of log V between subjects"),
    sigma=epistemic(HalfNormal(2.0), "mg/L", "standard deviation of a measurement"),
    ka=aleatory(LogNormal(median="ka_median", sigma="ka_sd"), "1/h", "absorption rate of a subject"),
    CL=aleatory(LogNormal(median="CL_median", sigma="CL_sd"), "L/h/kg", "clearance of a subject"),
    V=aleatory(LogNormal(median="V_median", sigma="V_sd"), "L/kg", "volume of distribution of a subject"),
)


def initial(p, inputs):
    return {"gut": inputs["dose"], "C": jnp.zeros(())}


def rhs(t, y, p, inputs):
    absorption = p["ka"] * y["gut"]
    return {"gut": -absorption, "C": (absorption - p["CL"] * y["C"]) / p["V"]}


def observe(y, p):
    return {"concentration": y["C"]}


model = Model(
    space=space,
    # The assay errs by about 0.7 mg/L; a solve good to 1e-6 is far below that and takes half the steps of 1e-8.
    system=Ode(initial, rhs, rtol=1e-6, atol=1e-8),
    observe=observe,
    units={"concentration": "mg/L"},
    noise={"concentration": Normal("concentration", "sigma")},
    name="theophylline",
    time_unit="h",
)
