"""Where profiles begin: the best fit near what is given, and other optima that are known."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ...annotations import Values
from ...errors import InputError
from ...optimization.ascent import Peak, ascend
from ...optimization.best_fit import everywhere, values_findings
from ...optimization.objective import TOGETHER, Objective
from ...optimization.rounds import in_rounds
from ...settings import is_number
from ...study import Study

LEVEL, BUDGET = 0.95, 120.0
# How far optima are from one another, in units of steps.
APART = 0.1
# How far away gradients are looked at, in standard errors of one parameter given all others.
ASIDE = 0.1


def setting_findings(study: Study, theta_hat: Values | xr.Dataset, level: float, budget: float) -> list[str]:
    """What is wrong with the settings of profiles."""
    findings = []
    if not isinstance(theta_hat, xr.Dataset):
        findings += values_findings(study, "theta_hat", theta_hat)
    elif set(theta_hat.parameter.values.tolist()) != set(study.model.space.epistemic):
        findings.append(f"theta_hat is of the parameters {theta_hat.parameter.values.tolist()}, not of this study's.")
    if not is_number(level) or not 0 < level < 1:
        findings.append(f"level is {level!r}; give a number between 0 and 1.")
    if not is_number(budget) or not budget > 0:
        findings.append(f"budget is {budget!r}; give a number of seconds above 0.")
    return findings


def best_near(study: Study, objective: Objective, theta_hat: Values | xr.Dataset) -> tuple[Peak, list[np.ndarray]]:
    """The best fit near the given one, and where else ascents of `find_map` have ended, each place once."""
    coordinates = objective.coordinates
    others: list[np.ndarray] = []
    if isinstance(theta_hat, xr.Dataset):
        names = [str(name) for name in theta_hat.parameter.values]
        for row in theta_hat.ended.values[theta_hat.optimum.values >= 0]:
            x = coordinates.at(dict(zip(names, row, strict=True)))
            if all(np.linalg.norm((x - other) / coordinates.scale) > APART for other in others):
                others.append(x)
        # the first of them is the best fit itself
        others = others[1:]
    x = start_at(study, objective, theta_hat)
    peak = peak_from(objective, x)
    if not np.isfinite(peak.score.value):
        raise InputError(f"the profiles of study {study.name!r} at theta_hat", objective.findings(x))
    return peak, others


def start_at(study: Study, objective: Objective, theta_hat: Values | xr.Dataset) -> Float[np.ndarray, " k"]:
    """x at the given best fit, what is missing of it at its prior median."""
    if isinstance(theta_hat, xr.Dataset):
        return objective.coordinates.at(dict(zip(theta_hat.parameter.values, theta_hat.value.values, strict=True)))
    return objective.coordinates.at({**study.model.space.nominal(), **theta_hat})


def peak_from(objective: Objective, x: Float[np.ndarray, " k"]) -> Peak:
    """Where an ascent from x ends."""
    search = ascend(x, everywhere(objective.coordinates), slack=objective.slack)
    (peak,), interrupted = in_rounds([search], objective, TOGETHER)
    if peak is None or interrupted:
        # there is nothing to be kept yet
        raise KeyboardInterrupt
    return peak


def with_curvature(objective: Objective, peak: Peak) -> Peak:
    """The peak with the curvature that its expected information lacks, by differences of gradients.

    Paths set out from it in all directions, and most of the curvature goes with them.
    """
    box = everywhere(objective.coordinates)
    error = 1.0 / np.maximum(np.linalg.norm(peak.score.root, axis=0), 1.0 / box.scale)
    # to the side where there is more room
    sign = np.where(box.upper - peak.x < peak.x - box.lower, -1.0, 1.0)
    moves = np.clip(peak.x + ASIDE * sign * error, box.lower, box.upper) - peak.x
    if not np.all(moves):
        return peak
    scores = objective(peak.x + np.diag(moves))
    if not all(np.isfinite(score.value) for score in scores):
        return peak
    slopes = np.stack([score.gradient - peak.score.gradient for score in scores]) / moves[:, None]
    missing = -slopes - peak.score.root.T @ peak.score.root
    return peak._replace(missing=0.5 * (missing + missing.T))
