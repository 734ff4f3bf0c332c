"""Pairs of parts whose rates are matrices given as inputs: one compiled model for any number of random systems."""

import jax.numpy as jnp
import numpy as np

import uqbench as uq

SIZE = 2
space = uq.Space(unit=uq.fixed(1.0))


def start_x(p, inputs):
    return {"x": inputs["x"]}


def start_y(p, inputs):
    return {"y": inputs["y"]}


def rate_x(t, y, p, inputs):
    bent = inputs["bent"]
    driven = inputs["C"] @ ((1 - bent) * y["y"] + bent * jnp.sin(y["y"]))
    return {"x": inputs["A"] @ y["x"] + driven - bent * y["x"] ** 3}


def rate_y(t, y, p, inputs):
    bent = inputs["bent"]
    return {"y": inputs["B"] @ y["y"] + inputs["D"] @ ((1 - bent) * y["x"] + bent * jnp.tanh(y["x"]))}


def system(schedule) -> uq.Coupled:
    """The pair under a schedule; `bent` is 0 for a linear one."""
    # what is asked is whether errors grow, not how large they are
    return uq.Coupled({"one": uq.Part(start_x, rate_x, "y"), "two": uq.Part(start_y, rate_y, "x")}, {}, schedule,
                      tolerance=None)  # fmt: skip


def model(schedule) -> uq.Model:
    dims = {"x": ("time", "entry"), "y": ("time", "entry")}
    return uq.Model(space, system(schedule), units={"x": "", "y": ""}, dims=dims)


def random_inputs(rng, bent: float, strength: float) -> dict[str, np.ndarray]:
    """Two parts, each of which may be unstable alone, that are stable together where they are linear."""
    joint = rng.normal(size=(2 * SIZE, 2 * SIZE))
    joint[:SIZE, SIZE:] *= strength
    joint[SIZE:, :SIZE] *= strength
    joint -= (np.max(np.linalg.eigvals(joint).real) + rng.uniform(0.1, 2.0)) * np.eye(2 * SIZE)
    rows = {"A": joint[:SIZE, :SIZE], "C": joint[:SIZE, SIZE:], "D": joint[SIZE:, :SIZE], "B": joint[SIZE:, SIZE:]}
    return {**rows, "x": rng.normal(size=SIZE), "y": rng.normal(size=SIZE), "bent": np.asarray(bent)}
