"""A gene that feeds its own production: two states for the same stimulus, and a memory of which came last.

x' = basal + a + b x^2 / (1 + x^2) - x: concentration x in units of the threshold, time in lifetimes. The production
without feedback is the basal rate and a stimulus `a`, which the experimenter sets. Above b_c = 8 / (3 sqrt 3) =
1.5396 (the cusp, at x = 1 / sqrt 3) a rising stimulus switches the gene on at one fold and a falling one switches it
off at another, lower one; in between the state depends on the past (hysteresis). Below b_c there is no switch.

`model` is the transient, from which b and the basal rate can be known. `folds` are the two stimuli at which the gene
switches: their distance depends on b alone. `sweep` is what is seen in between after a slow rise and fall of it.
"""

import jax.numpy as jnp

from uqbench import HalfNormal, LogNormal, Model, Normal, Ode, Space, epistemic
from uqbench.dynamics.continuation import fold, quasi_static

switch = {
    "b": epistemic(LogNormal(median=3.0, sigma=0.15), "", "strength of the feedback"),
    "basal": epistemic(LogNormal(median=0.05, sigma=0.5), "", "production without stimulus and feedback"),
}
space = Space(**switch, sigma=epistemic(HalfNormal(0.1), "", "standard deviation of a measurement"))

# The stimulus rises through these and falls again; the state is read at the one in between.
STIMULI = tuple(round(-1.2 + 0.1 * k, 1) for k in range(17))
READ_AT = -0.3


def initial(p, inputs):
    return {"x": inputs["x0"]}


def rhs(t, y, p, inputs):
    x = y["x"]
    return {"x": p["basal"] + inputs["a"] + p["b"] * x**2 / (1 + x**2) - x}


def observe(y, p):
    return {"x": y["x"]}


system = Ode(initial, rhs)


def fold_positions(theta, design, key):
    """Stimuli at which the gene is switched on and off, dimensionless; below the cusp the run fails: no fold.

    The search starts where strong feedback puts the folds, x = 1 / (2 b) and x = c - 2 / (3 c) with c^3 = 2 b.
    """
    inputs, c = {"a": 0.0, "x0": 0.0}, jnp.cbrt(2 * theta["b"])
    guesses = {"switch_on": 1 / (2 * theta["b"]), "switch_off": c - 2 / (3 * c)}
    found = {name: fold(system, theta, inputs, parameter="a", guess={"x": x}) for name, x in guesses.items()}
    code = jnp.maximum(found["switch_on"].result, found["switch_off"].result)
    return {name: each.parameter for name, each in found.items()}, code


def swept(theta, design, key):
    """The state at the stimulus `READ_AT` on its way up and on its way down, at rest for every stimulus between.

    There is no gradient: where a fold passes `READ_AT`, or one of `STIMULI`, as b moves, the state jumps, and the
    slope on either side knows nothing of it.
    """
    inputs = {"a": 0.0, "x0": 0.0}
    up = jnp.array(STIMULI)
    path = quasi_static(system, theta, inputs, parameter="a", values=jnp.concatenate([up, up[::-1]])).states["x"]
    place = STIMULI.index(READ_AT)
    return {"rising": path[place], "falling": path[-1 - place]}


model = Model(
    space=space,
    system=system,
    observe=observe,
    units={"x": ""},
    noise={"x": Normal("x", "sigma")},
    name="bistable_switch",
)
folds = Model.from_function(
    Space(switch),
    fold_positions,
    units={"switch_on": "", "switch_off": ""},
    name="folds of the bistable switch",
    dims={"switch_on": (), "switch_off": ()},
)
sweep = Model.from_function(
    Space(switch),
    swept,
    units={"rising": "", "falling": ""},
    name="slow sweep of the bistable switch",
    gradient="none",
    dims={"rising": (), "falling": ()},
)
