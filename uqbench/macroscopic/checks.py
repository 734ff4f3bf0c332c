"""What is wrong with the settings of a macroscopic problem, one sentence each.

Values that are being traced are not looked at: a result code speaks of them.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import InputError
from ..homogenisation.coefficients import checked


def checked_cell(coefficient, spacing, subject: str, findings: Sequence[str | None]) -> tuple[Array, tuple[float, ...]]:
    """`homogenisation.coefficients.checked` whose findings come together with others (None says nothing).

    Raises:
        InputError: with every finding.
    """
    others = said(*findings)
    try:
        array, edges = checked(coefficient, spacing, subject)
    except InputError as error:
        raise InputError(subject, [*error.findings, *others]) from None
    if others:
        raise InputError(subject, others)
    return array, edges


def said(*findings: str | None) -> list[str]:
    """Those that say something."""
    return [finding for finding in findings if finding]


def _values(value) -> np.ndarray | None:
    """The numbers, or None where they are being traced."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return None
    return np.asarray(value, float)


def numbers_finding(name: str, value, shapes: Sequence[tuple[int, ...]], meaning: str) -> str | None:
    """Of an array that has to be finite and of one of the shapes."""
    try:
        shape, values = jnp.shape(jnp.asarray(value, float)), _values(value)
    except (TypeError, ValueError):
        return f"{name} is no array of real numbers; give {meaning}."
    if shape not in shapes:
        return f"{name} has the shape {shape}; give {meaning}, of shape {' or '.join(map(str, shapes))}."
    if values is not None and not np.all(np.isfinite(values)):
        return f"{name} has {np.sum(~np.isfinite(values))} values that are not finite; give {meaning}."
    return None


def consumption_finding(consumption) -> str | None:
    finding = numbers_finding("consumption", consumption, [()], "a number")
    values = None if finding else _values(consumption)
    if values is not None and values < 0:
        return f"consumption is {float(values):g}; give a rate that is not negative (production belongs to the source)."
    return finding


def positive_finding(name: str, value) -> str | None:
    finding = numbers_finding(name, value, [()], "a positive number")
    values = None if finding else _values(value)
    if values is not None and values <= 0:
        return f"{name} is {float(values):g}; give a positive number."
    return finding


def cells_finding(cells, least: int = 1) -> str | None:
    if isinstance(cells, bool) or not isinstance(cells, int | np.integer) or cells < least:
        return (
            f"cells is {cells!r}; give a whole number of at least {least}: a slab is made of whole cells, and epsilon "
            "is one over their number."
        )
    return None


def wave_numbers_finding(wave_numbers, edge: float | None) -> str | None:
    """`edge` of a voxel along the waves; None where it is not known."""
    shape = np.shape(wave_numbers)
    finding = numbers_finding("wave_numbers", wave_numbers, [shape if len(shape) == 1 else (1,)], "a list of numbers")
    values = None if finding else _values(wave_numbers)
    if values is None or edge is None:
        return finding
    beyond = np.abs(values) * edge > np.pi * (1 + 1e-12)
    if beyond.any():
        return (
            f"{np.sum(beyond)} of {values.size} wave numbers are beyond pi / {edge:g} = {np.pi / edge:g}, the highest "
            "that these voxels carry; give lower ones, or a finer grid."
        )
    return None


def source_finding(source, coefficient, cells) -> str | None:
    """Of a source at the nodes of a slab; where the cell or their number is no sound one, others say so."""
    shape = np.shape(coefficient)
    if cells_finding(cells) or len(shape) not in (2, 3, 4, 5):
        return None
    nodes = cells * shape[0] + 1
    across = shape[1 : {2: 2, 3: 3, 4: 2, 5: 3}[len(shape)]]
    return numbers_finding("source", source, [(), (nodes,), (nodes, *across)], "values at the nodes")
