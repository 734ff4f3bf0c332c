"""What an expansion asks of its samples: every finding at once, and arrays of one shape where there is none."""

from collections.abc import Sequence

import numpy as np

from ...space import Space
from ..runs import MINIMUM_BASE_SAMPLES, dependence_findings, output_labels
from .bases import to_germ
from .expansion import bases_of


def expansion_findings(max_degree: int, q_norms: Sequence[float], max_error: float) -> list[str]:
    """What is wrong with the settings that only expansions have."""
    findings = []
    if int(max_degree) != max_degree or max_degree < 1:
        findings.append(f"max_degree is {max_degree}; give a whole number, at least 1.")
    if not len(q_norms) or not all(0 < q <= 1 for q in q_norms):
        findings.append(f"q_norms is {tuple(q_norms)}; give one or more numbers above 0 and up to 1.")
    if not 0 < max_error < 1:
        findings.append(f"max_error is {max_error}; give a share of the variance between 0 and 1, e.g. 0.01.")
    return findings


def checked_germs(space: Space, x, slopes: bool, findings: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Germs `(n, d)` and their derivatives; what is wrong with `x`, or with the space, goes to `findings`."""
    x = np.asarray(x)
    wrong = [name for name in space.free if space[name].dist.discrete]
    findings += [f"{name!r} is a count; an expansion needs densities. Fix it, or use sobol_indices." for name in wrong]
    if not space.free:
        findings.append("the space has no free parameter, so there is nothing to expand in.")
    if x.dtype.kind not in "fiub" or x.ndim != 2 or x.shape[1] != len(space.free):
        wanted = f"(n, {len(space.free)}), one column for each of {', '.join(space.free)}"
        findings.append(f"x has shape {x.shape} and holds {x.dtype}; give real numbers {wanted}.")
    if findings:
        return x, None
    germs, jacobian = to_germ(space, x.astype(float), slopes)
    for i, (name, basis) in enumerate(zip(space.free, bases_of(space), strict=True)):
        outside = ~basis.supports(germs[:, i])
        if slopes:
            # so far out in a tail that the density is zero in floating point, and no derivative can be carried over
            outside |= ~(jacobian[:, i, i] > 0)
        if outside.any():
            findings.append(
                f"{name!r} has {outside.sum()} values outside of the support of {space[name].dist!r} or at its end, "
                f"the first is {x[outside, i][0]} in row {np.argmax(outside)}; draw x from the space."
            )
    if not findings:
        findings += dependence_findings(germs, space.free)
    return germs, jacobian


def arranged_outputs(x, y, gradients, replicate_axis, findings):
    """Runs `(n, replicates, outputs)`, gradients `(n, d, outputs)` or None, and shape, names and coordinates of the
    outputs."""
    values, axes = np.asarray(y), (0,) if replicate_axis is None else (0, replicate_axis)
    if values.dtype.kind not in "fiub":
        findings.append(f"y holds {values.dtype}; give real numbers, NaN for a failed run.")
    if values.shape[:1] != np.shape(x)[:1]:
        findings.append(f"y has shape {values.shape}, x has {np.shape(x)}; give one row of y for each row of x.")
    elif replicate_axis is not None and not (0 < replicate_axis < values.ndim and values.shape[replicate_axis] > 1):
        findings.append(
            f"replicate_axis is {replicate_axis}, but y has shape {values.shape}; give an axis after the first with "
            "two runs or more, or None."
        )
    if findings:
        return values, None, ((), (), {})
    runs = np.moveaxis(values.astype(float), axes, tuple(range(len(axes))))
    runs = runs if len(axes) == 2 else runs[:, None]
    shape, (n, d) = runs.shape[2:], np.shape(x)
    slopes = None if gradients is None else np.asarray(gradients)
    if slopes is not None and (slopes.shape != (n, d, *shape) or slopes.dtype.kind not in "fiub"):
        wanted = ", ".join(map(str, (n, d, *shape)))
        findings.append(f"gradients have shape {slopes.shape} and hold {slopes.dtype}; give real numbers ({wanted}).")
    least = max(MINIMUM_BASE_SAMPLES, d + 2 if slopes is None else 0)
    if n < least:
        findings.append(f"{n} samples are too few for {d} inputs; give at least {least}.")
    if not findings and slopes is not None:
        slopes = slopes.astype(float).reshape(n, d, -1)
    return runs.reshape(*runs.shape[:2], -1), slopes, (shape, *output_labels(y, axes))
