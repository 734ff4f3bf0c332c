"""What is wrong with numbers that are known before a run (those that are being traced have a code instead), and how far
a balance is from being closed."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..annotations import Numbers
from ..errors import InputError


def sign_findings(positive: Mapping, nonnegative: Mapping) -> list[str]:
    """A sentence for each name whose numbers are not positive, or negative, or not numbers; pairs are of both sides."""
    findings = []
    for allowed, values in (("positive", positive), ("zero or positive", nonnegative)):
        for name, value in _sides(values):
            if isinstance(value, jax.core.Tracer):
                continue
            numbers = np.asarray(value, float)
            if not np.all(numbers > 0 if allowed == "positive" else numbers >= 0):
                findings.append(f"{name} is {value}; give {allowed} numbers.")
    return findings


def _sides(values: Mapping):
    for name, value in values.items():
        if isinstance(value, tuple):
            yield from (
                (f"{name} of the {side} side", each) for side, each in zip(("first", "second"), value, strict=True)
            )
        else:
            yield name, value


def check_signs(subject: str, *, positive: Mapping, nonnegative: Mapping) -> None:
    """Raises an `InputError` with all `sign_findings`."""
    findings = sign_findings(positive, nonnegative)
    if findings:
        raise InputError(subject, findings)


# Residual of a balance, relative to what it balances, that rounding leaves in 1e4 steps or a solve; measured are 1e-13.
CLOSED = 1e-12


def relative(residual: Array, size: Array) -> Array:
    """residual / size; as it is where there is nothing to compare, so that zero of zero is zero."""
    return residual / jnp.where(size == 0, 1.0, size)


def imbalance(residual: Numbers, size: Numbers) -> Array:
    """How far a balance is from being closed, |residual| / size, as an output of a model.

    What is below 1e-12 is rounding, which differs from run to run and has no derivative, and is given as 1e-12.

    Example:
        >>> imbalance(jnp.array([-1e-15, 0.02]), jnp.array([2.0, 2.0])).tolist()
        [1e-12, 0.01]
    """
    return jnp.maximum(jnp.abs(residual) / size, CLOSED)
