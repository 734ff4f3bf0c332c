"""Secretion scaled up from cell to tissue: a study without data, whose variance split is known in closed form.

For C* = (s/k) q with s ~ LogNormal(0, .3), q ~ Normal(10, 2) and k = .5: E[Var(C|s)] = 19.1555, Var(E[C|s]) = 41.2172.
"""

from forward_models.secretion import steady
from uqbench import Design, Quantity, Study


def concentration(outputs, design):
    return outputs["C"]


study = Study(
    name="secretion",
    model=steady,
    experiments={"steady state": Design([0.0])},
    quantities={"C*": Quantity(concentration, Design([0.0]), "nM", "concentration around a new cell at steady state")},
)
