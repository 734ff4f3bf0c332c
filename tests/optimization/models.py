"""Small studies whose best fits and profiles are known in closed form."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pandas as pd

import uqbench as uq


def table(times, values, output="y", experiment="e"):
    return pd.DataFrame({"experiment": experiment, "output": output, "time": np.asarray(times, float), "value": values})


def study_of(function, space, data, noise, name, units=None):
    """A study of outputs that are a function of the parameters and time; no solver."""
    outputs = dict.fromkeys(pd.unique(data["output"]), "") if units is None else units
    model = uq.Model.from_function(uq.Space(space), function, outputs, noise, name=name)
    return uq.Study(name, model, {each: uq.Design() for each in pd.unique(data["experiment"])}, data)


TIMES = np.linspace(0.0, 2.0, 12)
LINE = 1.0 + 0.5 * TIMES + 0.2 * np.random.default_rng(3).normal(size=TIMES.size)


def line(theta, design, key):
    return {"y": theta["a"] + theta["b"] * design.times}


@cache
def line_study(known_sd=True):
    """y = a + b t with normal noise of sd .2, or of an unknown one."""
    wide = uq.Normal(0.0, 100.0)
    space = {"a": uq.epistemic(wide), "b": uq.epistemic(wide)}
    if not known_sd:
        space["sigma"] = uq.epistemic(uq.HalfNormal(10.0))
    return study_of(line, space, table(TIMES, LINE), {"y": uq.Normal("y", 0.2 if known_sd else "sigma")}, "line")


def least_squares():
    """Estimates, unscaled covariance and residual sum of squares of the line."""
    design = np.stack([np.ones_like(TIMES), TIMES], axis=1)
    covariance = np.linalg.inv(design.T @ design)
    estimate = covariance @ design.T @ LINE
    return estimate, covariance, float(np.sum((LINE - design @ estimate) ** 2))


def exponentials(theta, design, key):
    return {"y": theta["A"] * jnp.exp(-theta["k"] * design.times) + theta["B"] * jnp.exp(-theta["q"] * design.times)}


@cache
def exponentials_study():
    """A sum of two exponentials, measured precisely: amplitudes 3 and 1, rates 2 and .3."""
    times = np.linspace(0.1, 8.0, 40)
    mean = 3 * np.exp(-2 * times) + np.exp(-0.3 * times)
    values = mean + 0.01 * np.random.default_rng(0).normal(size=times.size)
    space = {name: uq.epistemic(uq.LogNormal(0.0, 1.5)) for name in ("A", "k", "B", "q")}
    return study_of(exponentials, space, table(times, values), {"y": uq.Normal("y", 0.01)}, "exponentials")


def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}


def level_study(prior, values, sd=0.5, name="level"):
    """One unknown mean."""
    data = table(np.arange(len(values)), np.asarray(values, float))
    return study_of(level, {"m": uq.epistemic(prior)}, data, {"y": uq.Normal("y", sd)}, name)


def beside(theta, design, key):
    return {"y": theta["m"] + 0 * theta["idle"] * design.times}


def beside_study(prior):
    """A mean, and a parameter that no measurement depends on."""
    space = {"m": uq.epistemic(uq.Normal(0.0, 10.0)), "idle": uq.epistemic(prior)}
    return study_of(beside, space, table([0, 1, 2], [1.0, 1.2, 0.8]), {"y": uq.Normal("y", 0.5)}, "beside")


def two_optima_study(sd=0.4):
    """x^2 = 4 has two solutions; a second, weak measurement of x by itself makes one of them better."""

    space = {"x": uq.epistemic(uq.Uniform(-5.0, 5.0))}
    return study_of(both, space, two_rows(), {"square": uq.Normal("square", sd), "x_": uq.Normal("x_", 3.0)}, "optima")


def both(theta, design, key):
    x = theta["x"]
    return {"square": x**2 + 0 * design.times, "x_": x + 0 * design.times}


def two_rows():
    return pd.concat([table([0.0], [4.0], "square"), table([0.0], [1.0], "x_")], ignore_index=True)
