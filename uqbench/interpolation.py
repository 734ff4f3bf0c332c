"""Measured inputs: curves through points that were measured, for use inside a model's functions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .annotations import Numbers
from .errors import InputError


def interpolate(times: Numbers | Sequence, values: Numbers | Sequence) -> "Interpolation":
    """The curve u(t) through measured points: piecewise linear, constant before the first and after the last of them.

    Points with equal times are a jump: at that time u has the last of their values. Solves step to every knot exactly,
    so that no short feature between observations is missed; derivatives follow values and times.

    Args:
        times: `(k,)`, in the unit of the model's time, not decreasing; numbers, inputs, or expressions of parameters.
        values: `(k,)`, in the unit of what was measured.

    Returns:
        a function `u(t)` of times of any shape, for `rhs`, `observe`, `algebraic` and events.

    Raises:
        InputError: no point, different lengths; where the numbers are known, times that decrease and numbers that are
            not finite; all findings at once. Numbers that are known only while solving are not looked at.

    Example:
        >>> u = interpolate([0.0, 1.0, 1.0, 3.0], [0.0, 2.0, 5.0, 1.0])
        >>> [float(u(t)) for t in (-1.0, 0.5, 1.0, 2.0, 9.0)]
        [0.0, 1.0, 5.0, 3.0, 1.0]
    """
    findings: list[str] = []
    rows = [_row(name, given, findings) for name, given in (("times", times), ("values", values))]
    if not findings and rows[0].shape != rows[1].shape:
        findings.append(f"{rows[0].size} times and {rows[1].size} values; give one value for each time.")
    if isinstance(rows[0], np.ndarray) and rows[0].ndim == 1:
        findings += [
            f"times[{k}] is {rows[0][k]:g} and times[{k + 1}] is {rows[0][k + 1]:g}; times must not decrease."
            for k in np.flatnonzero(np.diff(rows[0]) < 0)[:MOST_NAMED]
        ]
    if findings:
        raise InputError("interpolate", findings)
    return Interpolation(*rows)


# Entries of one row that a message names.
MOST_NAMED = 5


def _row(name: str, given: Numbers | Sequence, findings: list[str]) -> np.ndarray | Array:
    """One row: as numpy where its numbers are known, so that a curve made at module level can be sent elsewhere."""
    try:
        if any(isinstance(entry, jax.core.Tracer) for entry in jax.tree.leaves(given)):
            row = (
                jnp.stack([jnp.asarray(entry, float) for entry in given]) if isinstance(given, list | tuple) else given
            )
        else:
            row = np.asarray(given, float)
    except (TypeError, ValueError):
        findings.append(f"{name} are no row of numbers.")
        return np.zeros(0)
    if row.ndim != 1 or row.size == 0:
        findings.append(f"{name} have shape {row.shape}; give one row of at least one number.")
    elif isinstance(row, np.ndarray):
        wrong = np.flatnonzero(~np.isfinite(row))[:MOST_NAMED]
        findings += [f"{name}[{k}] is {row[k]:g}; it must be finite." for k in wrong]
    return row


class Interpolation:
    """A piecewise linear function of time; made by `interpolate`.

    Args:
        times, values: `(k,)`.
    """

    def __init__(self, times: np.ndarray | Array, values: np.ndarray | Array):
        self.times, self.values = times, values

    def __call__(self, t: Numbers) -> Float[Array, "..."]:
        return piecewise_linear(*(jnp.asarray(row, float) for row in (t, self.times, self.values)))

    def __repr__(self) -> str:
        return f"interpolate({self.times!r}, {self.values!r})"


# `kernels.reading` knows this function by its name and gives it one operation that searches the knots.
@jax.jit
def piecewise_linear(t: Float[Array, "..."], times: Float[Array, " k"], values: Float[Array, " k"]):
    """Values at `t` of the curve through `(times, values)`, from the right where it jumps."""
    if len(times) == 1:
        return jnp.broadcast_to(values[0], t.shape)
    passed = jnp.sum(times <= t[..., None], axis=-1)
    i = jnp.clip(passed - 1, 0, len(times) - 2)
    length = times[i + 1] - times[i]
    # outside, and there only, the two times may be equal; that branch must be a number for the derivative of the other
    share = (t - times[i]) / jnp.where(length > 0, length, 1.0)
    between = values[i] + share * (values[i + 1] - values[i])
    return jnp.where(passed == 0, values[0], jnp.where(passed == len(times), values[-1], between))
