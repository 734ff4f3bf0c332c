"""What is wrong with numbers that are known before a run; those that are being traced have a code instead."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

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


def relative(residual: Array, size: Array) -> Array:
    """residual / size; as it is where there is nothing to compare, so that zero of zero is zero."""
    return residual / jnp.where(size == 0, 1.0, size)
