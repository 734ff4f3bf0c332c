"""A normal input through a map with one branch and one with two: a study without data, known in closed form.

For X ~ Normal(0, 1), e^X has the mean sqrt(e) and the variance e (e - 1) = 4.6708, X^2 the mean 1 and the variance 2;
all of it is epistemic. The densities themselves are `forward_models.pushforward.density`.
"""

from forward_models.pushforward import model
from uqbench import Design, Quantity, Study


def exponential(outputs, design):
    return outputs["exponential"]


def square(outputs, design):
    return outputs["square"]


study = Study(
    name="pushforward",
    model=model,
    experiments={"once": Design([0.0])},
    quantities={
        "e^X": Quantity(exponential, Design([0.0]), doc="one preimage for each value"),
        "X^2": Quantity(square, Design([0.0]), doc="two preimages for each value"),
    },
)
