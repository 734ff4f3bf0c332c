"""The velocity of an enzyme in cells treated with puromycin, and in others: two hyperbolas.

Data: Treloar (1974), tabulated by Bates & Watts (1988), Nonlinear Regression Analysis and Its Applications,
doi:10.1002/9780470316757; initial velocities at six concentrations, twelve in treated cells and eleven in untreated
ones. Nonlinear least squares gives Vm = 212.7 and Km = .0641 for the treated cells (`study`), 160.3 and .0477 for the
others (`untreated`). What the same table says of the mechanism behind: `studies.puromycin_mechanism`.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from forward_models.michaelis_menten import hyperbola
from uqbench import Design, HalfNormal, LogNormal, Quantity, Space, Study, epistemic

table = pd.read_csv(Path(__file__).with_suffix(".csv"), comment="#")
space = Space(
    Vm=epistemic(LogNormal(median=150.0, sigma=0.7), "count/min^2", "largest velocity"),
    Km=epistemic(LogNormal(median=0.1, sigma=1.0), "ppm", "substrate at half of it"),
    sigma=epistemic(HalfNormal(20.0), "count/min^2", "standard deviation of a measurement"),
)
between = Design([0.0], inputs={"S": 0.3})


def velocity(outputs, design):
    return outputs["v"][-1]


def of_cells(state, name):
    """The rows of one kind of cell; the velocity is that at the start."""
    rows = table[table["state"] == state].assign(time=0.0)
    settings = dict(zip(rows["experiment"], rows["substrate"], strict=True))
    return Study(
        name=name,
        model=replace(hyperbola, space=space, units={"v": "count/min^2"}),
        experiments={experiment: Design(inputs={"S": value}) for experiment, value in settings.items()},
        data=rows[["experiment", "output", "time", "value"]],
        quantities={"v at .3 ppm": Quantity(velocity, between, "count/min^2", "at a concentration between those seen")},
    )


study = of_cells("treated", "puromycin")
untreated = of_cells("untreated", "puromycin_untreated")
