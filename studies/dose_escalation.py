"""Low doses of a drug whose elimination saturates: what is lost by design, and which dose would show it.

Simulated (no patient was measured) from Vmax = 4 mg/L/h, Km = 8 mg/L, V = 10 L with a standard deviation of .005 mg/L:
concentrations after 1 and 2 mg, which stay below .2 mg/L. The equations allow all parameters to be known, but these
data show Vmax / Km only; the standard errors of log Vmax and log Km are larger than the priors'. `doses` are those
that could be given; one measurement after a high one is enough (`uqbench.identifiability.prescribe`).
"""

import numpy as np
import pandas as pd

from forward_models.saturable_elimination import concentration, model
from uqbench import Design, Quantity, Study

truth = {"Vmax": 4.0, "Km": 8.0, "V": 10.0}
given = [1.0, 2.0]
doses = [1.0, 2.0, 10.0, 50.0, 200.0]
times = np.linspace(0.5, 6.0, 8)
high = Design([4.0], inputs={"dose": 200.0})


def simulated(seed):
    draws, tables = np.random.default_rng(seed), []
    for dose in given:
        value = np.asarray(concentration(times, dose, **truth)) + 0.005 * draws.standard_normal(times.size)
        tables.append(pd.DataFrame({"experiment": f"{dose:g} mg", "output": "C", "time": times, "value": value}))
    return pd.concat(tables, ignore_index=True)


def remaining(outputs, design):
    return outputs["C"][-1]


study = Study(
    name="dose_escalation",
    model=model,
    experiments={f"{dose:g} mg": Design(inputs={"dose": dose}) for dose in given},
    data=simulated(seed=0),
    quantities={"C(4 h)": Quantity(remaining, high, "mg/L", "four hours after a dose of 200 mg, never given so far")},
)
