"""What the velocities of `studies.puromycin` say of the mechanism behind them: two numbers of four.

The whole mechanism, E + S <-> C -> E + P with the substrate held, whose initial velocities are those of its steady
state (the time `inf`). Whatever the data, only Vm = kcat E0 and Km = (koff + kcat) / kon can be known from them, none
of the four by itself: `identify` says so, and the posterior of each rate remains as wide as its prior lets it.
Concentrations of the enzyme are in units of its product.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from forward_models.michaelis_menten import velocity
from uqbench import Design, HalfNormal, LogNormal, Quantity, Space, Study, epistemic

table = pd.read_csv(Path(__file__).with_name("puromycin.csv"), comment="#")
treated = table[table["state"] == "treated"].assign(time=np.inf)
space = Space(
    kon=epistemic(LogNormal(median=1000.0, sigma=1.0), "1/(ppm*min)", "binding of substrate to enzyme"),
    koff=epistemic(LogNormal(median=50.0, sigma=1.0), "1/min", "release of the substrate unchanged"),
    kcat=epistemic(LogNormal(median=50.0, sigma=1.0), "1/min", "release as product"),
    E0=epistemic(LogNormal(median=3.0, sigma=1.0), "count/min", "total enzyme"),
    sigma=epistemic(HalfNormal(20.0), "count/min^2", "standard deviation of a measurement"),
)
between = Design([np.inf], inputs={"S": 0.3})


def at_rest(outputs, design):
    return outputs["v"][-1]


study = Study(
    name="puromycin_mechanism",
    model=replace(velocity, space=space, units={"v": "count/min^2"}),
    experiments={
        experiment: Design(inputs={"S": value})
        for experiment, value in zip(treated["experiment"], treated["substrate"], strict=True)
    },
    data=treated[["experiment", "output", "time", "value"]],
    quantities={"v at .3 ppm": Quantity(at_rest, between, "count/min^2", "at a concentration between those seen")},
)
