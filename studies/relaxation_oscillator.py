"""A relaxation oscillator seen over one period: what the data leave unknown of its period and its amplitude.

Simulated from eps = .05, tau = 1 h: both states at 25 times up to 2.5 h, with a standard deviation of .1. The period
follows tau in proportion, and eps by the delay at the folds; the amplitude is 2 but for that delay, whatever tau. So
the spread of the period comes from both parameters, that of the amplitude from eps alone. Over two periods the same
number of data would say more, but a jump that falls between other data than it should is a local maximum of the
likelihood: of two chains over 5 h one stayed in such a place.
"""

from pathlib import Path

import jax.numpy as jnp

from forward_models.relaxation_oscillator import model
from uqbench import Design, Quantity, Study

truth = {"eps": 0.05, "tau": 1.0, "sigma": 0.1}
# Two whole cycles of any tau below 2.3 h (the prior exceeds it once in 70 000 draws), a hundred times in each.
long_run = Design.linspace(0.0, 12.0, 3001)


def period(outputs, design):
    """Time between the last two passages of y through zero, upwards: in the middle of a drift, where all is smooth."""
    y, times = outputs["y"], design.times
    share = y[:-1] / (y[:-1] - y[1:])
    passages = jnp.where((y[:-1] < 0) & (y[1:] >= 0), times[:-1] + share * (times[1:] - times[:-1]), -jnp.inf)
    last = jnp.max(passages)
    before = jnp.max(jnp.where(passages < last, passages, -jnp.inf))
    return jnp.where(jnp.isfinite(before), last - before, jnp.nan)


def amplitude(outputs, design):
    on_cycle = outputs["x"][design.times.size // 2 :]
    return (jnp.max(on_cycle) - jnp.min(on_cycle)) / 2


study = Study(
    name="relaxation_oscillator",
    model=model,
    experiments={"time course": Design([])},
    data=Path(__file__).with_suffix(".csv"),
    quantities={
        "period": Quantity(period, long_run, "h", "period of the oscillation"),
        "amplitude": Quantity(amplitude, long_run, "", "half of the range of x"),
    },
)
