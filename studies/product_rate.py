"""Rates at three stimuli, planned: however many there are, the data say something of k g and nothing of k or g alone.

`uqbench run` shows it in all its parts: no parameter is identifiable, the combination k g is; the Fisher information
has rank one; the prediction at another stimulus varies all the same only as much as the product does.
"""

from forward_models.product_rate import model
from uqbench import Design, Quantity, Study

stimuli = [1.0, 2.0, 4.0]


def rate(outputs, design):
    return outputs["y"][-1]


study = Study(
    name="product_rate",
    model=model,
    experiments={f"stimulus {value:g}": Design([1.0], inputs={"stimulus": value}) for value in stimuli},
    quantities={"rate": Quantity(rate, Design([1.0], inputs={"stimulus": 3.0}), "nM/h", "rate at another stimulus")},
)
