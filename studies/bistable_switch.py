"""Where a bistable gene switches, and how much of that is not known for which reason; and a time course to learn it.

`study` needs no data: the stimuli at which the gene is switched on and off, and the width of the loop between them,
over what is unknown of the feedback b and the basal rate. A basal rate moves both folds alike, so the width is a
matter of b alone; the stimulus that switches off moves with b far more than the one that switches on.

`time_course` is simulated from b = 3, basal = .05 with a standard deviation of .05: one culture that a stimulus
switches on, and one that was on and stays so without any. Both parameters can be known from it.
"""

from pathlib import Path

from forward_models.bistable_switch import folds, model
from uqbench import Design, Quantity, Study

truth = {"b": 3.0, "basal": 0.05}
sigma = 0.05
conditions = {"switched_on": {"a": 0.2, "x0": 0.0}, "kept_on": {"a": 0.0, "x0": 3.0}}
# folds belong to no time
timeless = Design([0.0])


def switch_on(outputs, design):
    return outputs["switch_on"]


def switch_off(outputs, design):
    return outputs["switch_off"]


def width(outputs, design):
    return outputs["switch_on"] - outputs["switch_off"]


study = Study(
    name="bistable_switch",
    model=folds,
    experiments={"slow stimulus": timeless},
    quantities={
        "switch on": Quantity(switch_on, timeless, "", "stimulus at which the gene is switched on"),
        "switch off": Quantity(switch_off, timeless, "", "stimulus at which the gene is switched off"),
        "width": Quantity(width, timeless, "", "width of the loop between them"),
    },
)
time_course = Study(
    name="bistable_switch time course",
    model=model,
    experiments={name: Design(inputs=given) for name, given in conditions.items()},
    data=Path(__file__).with_suffix(".csv"),
)
