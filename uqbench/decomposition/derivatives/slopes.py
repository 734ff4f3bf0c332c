"""Given points, slopes and outputs, judged and put into coordinates in which every parameter has a Poincare constant.

Parameters whose distributions name others take part by their normal scores, as their own, independent coordinates of
the unit cube (Rosenblatt); what follows them moves along.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax.scipy.special import ndtr
from scipy.special import ndtri

from ...errors import nearest
from ...space import Space
from ..runs import dependence_findings, output_labels, value_findings
from .poincare import NORMAL, poincare_constant


def _linked(space: Space) -> set[str]:
    """Free parameters whose distributions name other free ones, and those that are named."""
    pairs = [(name, other) for name in space.free for other in space[name].names if other in space.free]
    return {name for pair in pairs for name in pair}


@dataclass(frozen=True, eq=False)
class Constants:
    """Of each parameter: its constant, the error and coordinate of it, whether it is normal there; and the slopes there
    (n, parameter, output)."""

    value: np.ndarray
    error: np.ndarray
    coordinate: np.ndarray
    normal: np.ndarray
    slopes: np.ndarray


def coordinates(space: Space, values: np.ndarray, slopes: np.ndarray) -> Constants:
    """In which coordinate each parameter has a Poincare constant, and the slopes in it."""
    linked = _linked(space)
    found, turned = [], slopes.copy()
    jacobian = None
    for i, name in enumerate(space.free):
        distribution = space[name].dist
        constant, error, coordinate = 1.0, 0.0, "normal score"
        if name not in linked:
            if distribution.names:  # of fixed parameters
                given = {other: float(space[other].dist) for other in distribution.names}
                numbers = {k: given.get(v, v) for k, v in distribution.arguments.items()}
                distribution = type(distribution)(**numbers)
            constant, error, coordinate = poincare_constant(distribution)
        if coordinate == "log":
            turned[:, i] *= values[:, i, None]
        elif coordinate == "normal score":
            jacobian = germ_jacobian(space, values) if jacobian is None else jacobian
            turned[:, i] = np.einsum("nk,nko->no", jacobian[:, :, i], slopes)
        normal = coordinate == "normal score" or type(distribution).__name__ in NORMAL
        found.append((constant, error, coordinate, normal))
    return Constants(*map(np.array, zip(*found, strict=True)), turned)


def germ_jacobian(space: Space, values: np.ndarray) -> np.ndarray:
    """Derivatives (n, parameter, germ) of the parameters in independent normal scores, by conditional quantiles."""
    density, u = map(np.asarray, space.conditional_laws(space.theta(values)))
    z = ndtri(np.clip(u, 1e-300, 1 - 1e-16))
    if _linked(space):
        return np.asarray(jax.jit(jax.vmap(jax.jacfwd(lambda z: space.vector(space.from_cube(ndtr(z))))))(z))
    own = np.exp(-(z**2) / 2 - density - 0.5 * np.log(2 * np.pi))
    return own[:, :, None] * np.eye(len(space.free))


def arranged_slopes(space: Space, x, gradients, y, max_failed: float, findings: list[str]):
    """Values (n, d), slopes (n, d, output...), outputs or None, names and coordinates of outputs; all is judged."""
    free = space.free
    nothing = None, None, None, (), {}
    tables = [_stacked(table, free, what, findings) for table, what in ((x, "x"), (gradients, "gradients"))]
    if findings and any(table is None for table in tables):
        return nothing
    values, slopes = tables
    d = len(free)
    if values.shape[1:] != (d,) or slopes.shape[:2] != values.shape or not len(values):
        findings.append(
            f"x has shape {values.shape} and gradients {slopes.shape}; give (n, {d}) and (n, {d}[, output...]), with "
            f"the parameters {', '.join(map(repr, free))}."
        )
        return nothing
    first = next(iter(gradients.values())) if isinstance(gradients, Mapping) else gradients
    dims, coords = output_labels(first, (0,) if isinstance(gradients, Mapping) else (0, 1))
    outputs = None
    if y is not None:
        outputs = np.asarray(y)
        if outputs.shape != (len(values), *slopes.shape[2:]) or outputs.dtype.kind not in "fiub":
            findings.append(
                f"y has shape {outputs.shape} and holds {outputs.dtype}; gradients of shape {slopes.shape} need real "
                f"numbers {(len(values), *slopes.shape[2:])}."
            )
            return nothing
        outputs = outputs.astype(float)
    _check(space, values, slopes, outputs, max_failed, dims, findings)
    return values, slopes, outputs, dims, coords


def _stacked(table, free: tuple[str, ...], what: str, findings: list[str]) -> np.ndarray | None:
    """The columns of one table as (n, d, ...)."""
    if isinstance(table, Mapping):
        missing = [f"{what} has no {name!r}; {nearest(name, list(table))}" for name in free if name not in table]
        shapes = {name: np.shape(table[name]) for name in free if name in table}
        if missing or len(set(shapes.values())) > 1:
            findings += missing or [f"the columns of {what} have different shapes: {shapes}."]
            return None
        table = np.stack([np.asarray(table[name]) for name in free], axis=1)
    table = np.asarray(table)
    if table.dtype.kind not in "fiub" or table.ndim < 2:
        findings.append(
            f"{what} has shape {table.shape} and holds {table.dtype}; give real numbers (n, {len(free)}, ...)."
        )
        return None
    return table.astype(float)


def _check(space: Space, values, slopes, outputs, max_failed: float, dims, findings: list[str]) -> None:
    """What is wrong with numbers whose shapes are right."""
    for name in space.free:
        if space[name].dist.discrete:
            findings.append(
                f"parameter {name!r} is a count; there is no derivative by it. Fix it, or use Sobol indices."
            )
    if not np.isfinite(values).all():
        findings.append(f"x has {np.sum(~np.isfinite(values))} values that are not finite; drop their runs.")
    else:
        density, u = map(np.asarray, space.conditional_laws(space.theta(values)))
        outside = np.isneginf(density).sum(axis=0)
        if not outside.any():
            findings += dependence_findings(u, space.free)
        for name, count in zip(space.free, outside, strict=True):
            if count:
                findings.append(f"{count} values of {name!r} are outside its support; are x and space of one scale?")
    flat = slopes.reshape(*slopes.shape[:2], -1)
    lost = np.isnan(flat).any(axis=1)
    if outputs is not None:
        y = outputs.reshape(len(outputs), -1)
        lost |= np.isnan(y)
        findings += value_findings(np.where(lost, np.nan, y), lost, max_failed, slopes.shape[2:], dims, "runs")
    elif (lost.mean(axis=0) > max_failed).any() or (len(lost) - lost.sum(axis=0) < 8).any():
        findings.append(
            f"up to {lost.sum(axis=0).max()} of {len(lost)} runs have no gradient; allowed is a share of {max_failed}, "
            "with 8 runs left. Find out why they fail, or raise `max_failed`."
        )
    if np.isinf(flat).any():
        findings.append(f"gradients have {np.isinf(flat).sum()} infinite values; set failed runs to NaN.")
