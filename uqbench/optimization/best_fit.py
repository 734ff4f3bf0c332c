"""The best fit: many bounded ascents side by side, what they found, and how surely nothing better was missed."""

import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from ..annotations import Values
from ..compiling import LITTLE_EFFORT
from ..errors import InputError, nearest
from ..progress import progress
from ..settings import is_number, seed_findings, whole_number_findings
from ..space import distribution_of
from ..study import Study
from .ascent import Box, Peak, ascend, predicted_gain
from .coordinates import Coordinates
from .objective import TOGETHER, Objective, finer_objective_of, objective_of
from .rounds import in_rounds

STARTS, BUDGET = 32, 120.0
# What `stopped` says after Ctrl-C.
BY_HAND = "by Ctrl-C"
# Two ascents are at one optimum if their log densities differ by no more than this.
SAME = 0.01
# A certificate: the best fit once more, with tolerances so much smaller, and how much better it may get there.
FINER, CERTAIN = 1e-2, 0.05


def find_map(
    study: Study,
    *,
    starts: int = STARTS,
    theta: Values | None = None,
    prior: bool = True,
    budget: float = BUDGET,
    seed: int = 0,
) -> xr.Dataset:
    """The most probable parameters given the data, or with `prior=False` those of the largest likelihood.

    Ascents begin at Sobol points of the prior, within the bounds of its support, in logarithms of what is positive. The
    log prior is the density per unit of the scale on which a prior is normal or uniform: a LogNormal or LogUniform
    prior counts in the logarithm of its parameter, all others in the parameter. With priors that are uniform on their
    scale the best fit is that of the largest likelihood.

    Args:
        study: with data; its likelihood has a gradient and an information.
        starts: how many ascents.
        theta: where one more begins, epistemic parameters by name; those missing at the `nominal` values of the model,
            or their prior medians. Where the model has nominal values one begins there in any case.
        prior: whether the prior counts.
        budget: seconds; ascents that have not ended by then end, and `stopped` says so.
        seed: of the starts.

    Returns:
        by `parameter`: `value`, in its unit, and `at_bound` ("lower", "upper" or empty); by `start`, the best first:
        `log_density` where it ended, -inf where it could not start, `verdict` of its ascent, `optimum`, the number of
        the optimum it is at, 0 being the best fit, -1 where it failed, and `scores`, evaluations; by `start` and
        `parameter`: `begun` and `ended`, in units. Attributes: `log_density`, `log_likelihood` and `log_prior` of the
        best fit; `reached`, the share of starts that ended there; `unseen`, the probability that another start would
        find an optimum that none has found (Good & Turing, from those found once); `gain` that is predicted for a
        further step, and `certificate`, what solves with tolerances 100 times smaller add to the log density and find
        to gain; `verdict` ("converged", or what is wrong in words); `stopped`.

    Raises:
        InputError: with every finding: settings, unknown parameters, no data, a likelihood without gradient; no start
            from which the model can be solved.

    Example:
        >>> from studies.two_scale_cascade import study
        >>> find_map(study, starts=4).attrs["verdict"]
        'converged'
    """
    findings = settings_findings(starts=starts, budget=budget, seed=seed)
    findings += [] if theta is None else values_findings(study, "theta", theta)
    if findings:
        raise InputError(f"find_map of study {study.name!r}", findings)
    objective = objective_of(study, prior)
    coordinates = objective.coordinates
    begun = coordinates.starts(starts, seed)
    if theta is not None or study.model.nominal:
        begun = np.concatenate([coordinates.at(study.model.space.nominal() | dict(theta or {}))[None], begun])
    peaks, stopped = _climbed(objective, begun, budget)
    if not any(np.isfinite(peak.score.value) for peak in peaks if peak is not None):
        raise InputError(f"find_map of study {study.name!r}", _nowhere(objective, begun, peaks))
    return _dataset(study, objective, begun, peaks, stopped)


def settings_findings(*, starts: int = STARTS, budget: float = BUDGET, seed: int = 0) -> list[str]:
    """What is wrong with the settings of `find_map`."""
    findings = whole_number_findings({"starts": (starts, 1)}) + seed_findings(seed)
    if not is_number(budget) or not budget > 0:
        findings.append(f"budget is {budget!r}; give a number of seconds above 0.")
    return findings


def values_findings(study: Study, subject: str, theta: Values) -> list[str]:
    """What is wrong with values of parameters to start from: names, numbers, and where the priors end."""
    space = study.model.space
    if not isinstance(theta, Mapping):
        return [f"{subject} is {theta!r}; give values of parameters by name."]
    findings = [f"unknown parameter {name!r}; {nearest(name, space.names)}" for name in theta if name not in space]
    known = space.nominal()
    for name in theta:
        if name not in space or name in space.aleatory:
            continue
        value = np.asarray(theta[name])
        if value.shape or value.dtype.kind not in "fiu" or not np.isfinite(value):
            findings.append(f"{subject} of {name!r} is {theta[name]!r}; give a number.")
        elif name in space.fixed and value != known[name]:
            findings.append(f"{subject} of {name!r} is {value:g}, which is fixed at {float(known[name]):g}.")
        elif name in space.epistemic and not space[name].names:
            lower, upper = (float(end) for end in distribution_of(space, name).support(known))
            if not lower <= value <= upper:
                findings.append(f"{subject} of {name!r} is {value:g}; its prior is between {lower:g} and {upper:g}.")
    return findings


def everywhere(coordinates: Coordinates) -> Box:
    """All parameters free within their bounds."""
    free = np.ones(len(coordinates.names), bool)
    return Box(coordinates.lower, coordinates.upper, free, coordinates.scale)


def _climbed(objective: Objective, begun: Float[np.ndarray, "n k"], budget: float) -> tuple[list[Peak | None], str]:
    """The peak of each start, None of those never begun, and why the search was stopped; empty if it was not."""
    until, box = time.monotonic() + budget, everywhere(objective.coordinates)
    searches = [ascend(x, box, slack=objective.slack) for x in begun]
    with progress("best fit: starts", len(begun)) as update:
        peaks, interrupted = in_rounds(
            searches, objective, TOGETHER, done=update, enough=lambda: time.monotonic() > until
        )
    if interrupted:
        if not any(peak is not None and np.isfinite(peak.score.value) for peak in peaks):
            raise KeyboardInterrupt
        return peaks, BY_HAND
    unfinished = any(peak is None or peak.verdict == "stopped" for peak in peaks)
    return peaks, f"after {budget:g} s" if unfinished and time.monotonic() > until else ""


def _nowhere(objective: Objective, begun: Float[np.ndarray, "n k"], peaks: list[Peak | None]) -> list[str]:
    failed = sum(peak is not None and peak.verdict == "failed" for peak in peaks)
    where = f"from none of {failed} starts the data have a density; at the first one:"
    return [where, *objective.findings(begun[0])]


def optima(values: Sequence[float]) -> np.ndarray:
    """Which optimum each falling value belongs to: a new one begins where the next is lower by more than `SAME`."""
    falling = np.asarray(values, float)
    with np.errstate(invalid="ignore"):
        number = np.cumsum(np.append(0, -np.diff(falling) > SAME))
    return np.where(np.isfinite(falling), number, -1)


def _dataset(study, objective: Objective, begun, peaks: list[Peak | None], stopped: str) -> xr.Dataset:
    coordinates = objective.coordinates
    done = [(peak, x) for peak, x in zip(peaks, begun, strict=True) if peak is not None]
    done.sort(key=lambda pair: -pair[0].score.value)
    ended = [peak for peak, _ in done]
    best = ended[0]
    number = optima([peak.score.value for peak in ended])
    seen = [int(np.sum(number == each)) for each in range(number.max() + 1)]
    certificate = certified(study, objective, best)
    at_bound = np.where(best.x <= coordinates.lower, "lower", np.where(best.x >= coordinates.upper, "upper", ""))
    # its operations would each be compiled apart
    log_prior = float(np.sum(jax.jit(coordinates.log_prior, compiler_options=LITTLE_EFFORT)(best.x)))
    total = float(best.score.value)
    return xr.Dataset(
        {
            "value": ("parameter", coordinates.natural(best.x)),
            "at_bound": ("parameter", at_bound),
            "log_density": ("start", [peak.score.value for peak in ended]),
            "verdict": ("start", [peak.verdict for peak in ended]),
            "optimum": ("start", number),
            "scores": ("start", [peak.scores for peak in ended]),
            "begun": (("start", "parameter"), coordinates.natural(np.stack([x for _, x in done]))),
            "ended": (("start", "parameter"), coordinates.natural(np.stack([peak.x for peak in ended]))),
        },
        coords={"parameter": list(coordinates.names), "start": np.arange(len(ended))},
        attrs={
            "log_density": total,
            "log_likelihood": total - (log_prior if objective.prior else 0.0),
            "log_prior": log_prior,
            "reached": seen[0] / len(ended),
            "unseen": seen.count(1) / sum(seen),
            "gain": float(best.gain),
            **certificate,
            "verdict": _verdict(best, certificate["certificate"], seen, stopped),
            "stopped": stopped,
            "starts": len(begun),
        },
    )


def certified(study: Study, objective: Objective, best: Peak) -> dict[str, float]:
    """What finer solves say of a best fit: how far its log density is off, and what could still be gained there."""
    finer = finer_objective_of(study, objective.prior, FINER)
    if finer is None:
        return {"solve_error": 0.0, "certificate": float(best.gain)}
    try:
        again = finer(best.x[None])[0]
    except KeyboardInterrupt:
        return {"solve_error": float("nan"), "certificate": float("nan")}
    if not np.isfinite(again.value):
        return {"solve_error": float("inf"), "certificate": float("inf")}
    gain = predicted_gain(again, best.x, everywhere(objective.coordinates))
    return {"solve_error": float(best.score.value - again.value), "certificate": gain}


def _verdict(best: Peak, certificate: float, seen: list[int], stopped: str) -> str:
    """ "converged", or in words what is not well with it."""
    wrong = []
    if best.verdict != "converged":
        wrong.append(f"the best ascent {best.verdict}, with {best.gain:.2g} of log density still to gain")
    elif not certificate < CERTAIN:
        wrong.append(f"with finer solves {certificate:.2g} of log density are still to gain")
    if stopped:
        wrong.append(f"stopped {stopped}")
    if seen[0] == 1 and sum(seen) > 1:
        wrong.append("only one start has reached it; there may be better ones: give more starts")
    return "; ".join(wrong) or "converged"
