"""An injected drug that spreads fast and leaves slowly: two compartments, in subjects who differ.

C' = -(k10 + k12) C + k21 T, T' = k12 C - k21 T from C(0) = C0, T(0) = 0: the plasma exchanges with the tissue, and only
the plasma eliminates. T is the amount in the tissue per volume of plasma, C0 the dose per volume of plasma, so no dose
has to be known. The transfer function C0 (s + k21) / (s^2 + (k10 + k12 + k21) s + k10 k21) has a zero that gives k21:
its two poles are told apart, and all four parameters are identifiable globally.
"""

import jax.numpy as jnp

from uqbench import HalfNormal, LogNormal, Model, Ode, Space, aleatory, epistemic

space = Space(
    C0_median=epistemic(LogNormal(median=3.0, sigma=0.7), "mg/L", "dose per volume of plasma of the median subject"),
    k10_median=epistemic(LogNormal(median=1.0, sigma=0.7), "1/h", "elimination rate of the median subject"),
    k12_median=epistemic(LogNormal(median=1.0, sigma=0.7), "1/h", "rate from plasma to tissue of the median subject"),
    k21_median=epistemic(LogNormal(median=0.5, sigma=0.7), "1/h", "rate from tissue to plasma of the median subject"),
    C0_sd=epistemic(HalfNormal(0.5), "", "standard deviation of log C0 between subjects"),
    k10_sd=epistemic(HalfNormal(0.5), "", "standard deviation of log k10 between subjects"),
    k12_sd=epistemic(HalfNormal(0.5), "", "standard deviation of log k12 between subjects"),
    k21_sd=epistemic(HalfNormal(0.5), "", "standard deviation of log k21 between subjects"),
    sigma=epistemic(HalfNormal(0.5), "", "standard deviation of a measurement, relative"),
    C0=aleatory(LogNormal(median="C0_median", sigma="C0_sd"), "mg/L", "dose per volume of plasma of a subject"),
    k10=aleatory(LogNormal(median="k10_median", sigma="k10_sd"), "1/h", "elimination rate of a subject"),
    k12=aleatory(LogNormal(median="k12_median", sigma="k12_sd"), "1/h", "rate from plasma to tissue of a subject"),
    k21=aleatory(LogNormal(median="k21_median", sigma="k21_sd"), "1/h", "rate from tissue to plasma of a subject"),
)


def initial(p, inputs):
    return {"C": p["C0"], "T": jnp.zeros(())}


def rhs(t, y, p, inputs):
    exchange = p["k12"] * y["C"] - p["k21"] * y["T"]
    return {"C": -p["k10"] * y["C"] - exchange, "T": exchange}


def observe(y, p):
    return {"concentration": y["C"]}


model = Model(
    space=space,
    # The assay errs by a fifth; a solve good to 1e-6 is far below that.
    system=Ode(initial, rhs, rtol=1e-6, atol=1e-8),
    observe=observe,
    units={"concentration": "mg/L"},
    noise={"concentration": LogNormal(median="concentration", sigma="sigma")},
    name="two_compartments",
    time_unit="h",
)
