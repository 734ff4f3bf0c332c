"""A name for what a model computes, so that results are not mixed with those of another."""

import re
from collections.abc import Callable
from hashlib import sha256

import jax
import numpy as np

from ..design import Design
from ..symbols import TRACING_ERRORS, operations
from .description import Model


def digest(model: Model, design: Design) -> str:
    """Hash of what the model computes: its parameters, units, noise and functions, not their source text.

    A function that is a formula is named by the operations of its straight-line program, which no upgrade of JAX
    changes; any other one by what JAX traces, so that an upgrade may make stored results those of another model.
    """
    theta, functions = model.space.nominal(), model.dynamics.functions(model, design)
    hasher = sha256()
    for text in (repr(model.space), repr(dict(model.units)), repr(dict(model.noise)), model.time_unit):
        hasher.update(f"{text}\n".encode())
    if model.dims:
        hasher.update(f"{sorted(model.dims.items())}\n".encode())
    for text in functions.settings:
        hasher.update(f"{text}\n".encode())
    for name, (call, more) in functions.calls.items():
        hasher.update(f"{name}\n".encode())
        hasher.update(_content(call, theta, *more))
    return hasher.hexdigest()[:16]


def _content(function: Callable, *arguments) -> bytes:
    """What a function does at arguments of these names and shapes, the first of which are parameters."""
    try:
        if (known := operations(function, *arguments)) is not None:
            return repr(known).encode()
        traced = jax.make_jaxpr(function)(*arguments)
    except TRACING_ERRORS:  # a simulator may use the numbers of its design in NumPy or in Python
        theta, *others = arguments
        traced = jax.make_jaxpr(lambda theta: function(theta, *others))(theta)
    # addresses of Python objects are not content
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))
    return b"".join([text.encode(), *(np.asarray(constant).tobytes() for constant in traced.consts)])
