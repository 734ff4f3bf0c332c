"""Secretion scaled up from cell to tissue: a study without data, whose variance split is known in closed form.

For C* = (s/k) q with s ~ LogNormal(0, .3), q ~ Normal(10, 2) and k = .5: E[Var(C|s)] = 19.1555, Var(E[C|s]) = 41.2172.

`cells` plans measurements of the transient in six cells, with a standard deviation of .5 nM: what simulation-based
calibration needs, which simulates the data (`uqbench sbc secretion:cells`).
"""

from dataclasses import replace

from forward_models.secretion import model, steady
from uqbench import Design, Normal, Quantity, Study


def concentration(outputs, design):
    return outputs["C"]


study = Study(
    name="secretion",
    model=steady,
    experiments={"steady state": Design([0.0])},
    quantities={"C*": Quantity(concentration, Design([0.0]), "nM", "concentration around a new cell at steady state")},
)

cells = Study(
    name="secretion_cells",
    model=replace(model, noise={"C": Normal("C", 0.5)}),
    experiments={f"cell {number}": Design([1.0, 2.0, 4.0, 8.0]) for number in range(1, 7)},
)
