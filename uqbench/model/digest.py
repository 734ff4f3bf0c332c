"""A name for what a model computes, so that results are not mixed with those of another."""

import re
from collections.abc import Callable
from hashlib import sha256
from types import FunctionType, MethodType

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

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
    for name, also in (("increments", sorted(model.increments)), ("columns", sorted(model.columns))):
        if also:
            hasher.update(f"{name} {also}\n".encode())
    for axis, values in sorted(model.coords.items()):
        hasher.update(f"{axis}: {np.asarray(values).tolist()}\n".encode())
    for text in functions.settings:
        hasher.update(f"{text}\n".encode())
    for name, (call, more) in functions.calls.items():
        hasher.update(f"{name}\n".encode())
        hasher.update(content(call, theta, *more))
    return hasher.hexdigest()[:16]


def content(function: Callable, *arguments) -> bytes:
    """What a function does at arguments of these names and shapes, the first of which are parameters."""
    try:
        traced, returned = jax.make_jaxpr(function, return_shape=True)(*arguments)
        if (known := operations(traced, returned, *arguments)) is not None:
            return repr((known, _more_than_formulas(traced.jaxpr))).encode()
    except TRACING_ERRORS:  # a simulator may use the numbers of its design in NumPy or in Python
        theta, *others = arguments
        traced = jax.make_jaxpr(lambda theta: function(theta, *others))(theta)
    # addresses of Python objects are not content
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))
    code = [repr(_callbacks(traced.jaxpr)).encode()]
    return b"".join([text.encode(), *code, *(np.asarray(constant).tobytes() for constant in traced.consts)])


# What is the same formula to an algebra and another thing to a solve: cbrt(-8) is -2, (-8)^(1/3) no number.
NO_MERE_FORMULAS = ("cbrt", "stop_gradient", "reduce_precision")


def _more_than_formulas(jaxpr) -> list[str]:
    """What of that a function has, by name."""
    return sorted(name for equation in _equations(jaxpr) if (name := equation.primitive.name) in NO_MERE_FORMULAS)


def _callbacks(jaxpr) -> list:
    """Code and constants of the Python functions that are called back, of which JAX shows only the address."""
    found = []
    for equation in _equations(jaxpr):
        for value in equation.params.values():
            called = getattr(value, "callback_func", None)
            if isinstance(called, FunctionType | MethodType):
                code = called.__code__
                inside = [cell.cell_contents for cell in called.__closure__ or ()]
                found.append(
                    (code.co_code, code.co_names, [c for c in code.co_consts if not hasattr(c, "co_code")], inside)
                )
    return found


def _equations(jaxpr):
    """All equations of a jaxpr, those of the functions that it calls too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)
