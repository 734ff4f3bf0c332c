"""How the expected outputs of a model answer to its parameters, with what is known of the error of each number."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
import pandas as pd

from ..annotations import Values
from ..design import Design
from ..errors import InputError, nearest
from ..model import Model
from ..settings import is_number, seed_findings, whole_number_findings
from ..systems.estimates import DERIVATIVE, DIFFERENCES, LIKELIHOOD_RATIO, PATHWISE
from .estimators import ESTIMATORS, Problem

# Of a parameter's value: how far apart the two values of a finite difference are.
STEP = 0.1


def expectation_gradient(
    model: Model,
    theta: Values,
    design: Design,
    parameters: Sequence[str] | None = None,
    *,
    method: str | None = None,
    runs: int = 4096,
    steps: Mapping[str, float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Derivatives of the expected outputs of a model by its parameters, each with what it is.

    Of a reaction network every view has its own way, which the label names: `ode()`, `moments()` and `linear_noise()`
    are exact of an approximation; `master_equation()` is exact within its box; `langevin()` goes along paths; `jumps()`
    takes central differences of two exactly simulated processes that fire together as often as they can (split
    coupling, Anderson 2012, doi:10.1137/110849079), or the likelihood ratio (Glynn 1990, doi:10.1145/84537.84552);
    leaps, `hybrid()` and other simulators take central differences of runs with the same keys.

    Args:
        model: with any dynamics. Outputs that jump with the states, such as `y["X"] > 25`, have the derivative of a
            probability; not along paths.
        theta: value of every free parameter.
        design: times and inputs.
        parameters: names of those to differentiate by; default the free ones that a run depends on.
        method: "derivative", "pathwise", "differences" or "likelihood ratio", of those that the dynamics offer; None:
            their first.
        runs: of random models, for each parameter.
        steps: parameter -> distance of the two values of a central difference; default a tenth of its value. Standard
            errors grow as it becomes small, the bias in proportion to its square.
        seed: of the keys of the runs; 0 is a seed.

    Returns:
        A row for each output, time and parameter: `output`, `time`, `parameter`, `value` (unit of the output per unit
        of the parameter), `standard_error` (0 where nothing is random), `label` and its `meaning`, `step` (NaN where
        there is none), and `reason`: "" or why there is no number, which is NaN then.

    Raises:
        InputError: with every finding: names, settings, a method that the dynamics do not offer, and what `evaluate`
            finds.

    Example:
        >>> import uqbench as uq
        >>> from forward_models.birth_death import model
        >>> table = expectation_gradient(model, {"k": 10.0, "g": 1.0}, uq.Design([1.0]), ["k"])
        >>> round(float(table["value"][0]), 4), table["label"][0]
        (0.6321, 'exact of an approximation')
    """
    theta = model.space.complete(theta)
    offered = model.dynamics.expectation_gradients
    method = next(iter(offered)) if method is None else method
    names = _names(model, design, parameters)
    findings = _findings(model, theta, design, names, method, runs, seed)
    distances, wrong = _steps(theta, names, steps or {}, method)
    if findings + wrong:
        raise InputError("expectation_gradient", findings + wrong)
    keys = jax.random.split(jax.random.key(seed), runs)
    found = ESTIMATORS[method](Problem(model, theta, design, names, distances, keys))
    estimate, times = offered[method], np.asarray(design.times)
    places = [(k, i, j) for k in range(len(model.series)) for i in range(len(times)) for j in range(len(names))]
    return pd.DataFrame(
        {
            "output": [model.series[k] for k, _, _ in places],
            "time": [times[i] for _, i, _ in places],
            "parameter": [names[j] for _, _, j in places],
            "value": found.value.ravel(),
            "standard_error": found.error.ravel(),
            "label": estimate.label,
            "meaning": estimate.meaning,
            "step": [distances.get(names[j], np.nan) for _, _, j in places],
            "reason": found.reason.ravel(),
        }
    )


def _names(model: Model, design: Design, parameters: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(parameters, str):
        return (parameters,)
    if parameters is not None:
        return tuple(parameters)
    used = model.dynamics.parameters_used(model, design)
    return tuple(name for name in model.space.free if name in used)


def _findings(model: Model, theta, design: Design, names, method: str, runs: int, seed: int) -> list[str]:
    offered, known = model.dynamics.expectation_gradients, model.space.names
    findings = [f"{name!r} is no parameter; {nearest(name, known)}" for name in names if name not in known]
    findings += [] if names else ["there is no parameter to differentiate by."]
    findings += [
        f"{name!r} has the shape {np.shape(value)}; give one number." for name, value in theta.items() if value.ndim
    ]
    findings += whole_number_findings({"runs": (runs, 16)}) + seed_findings(seed)
    if method not in offered:
        findings.append(f"method {method!r} is not offered by {model.dynamics.kind}; it has {', '.join(offered)}.")
    if method == DERIVATIVE and model.gradient == "none":
        findings.append("the model says that it has no gradient.")
    if design.times.ndim != 1 or not len(design.times):
        findings.append("give one design with at least one time.")
    elif design.settles and method != DERIVATIVE:
        findings.append("random runs do not come to rest; leave the time inf out.")
    if model.increments:
        findings.append(f"{', '.join(map(repr, model.increments))} are increments; give `model.accumulated`.")
    if left := [name for name in model.outputs if name not in model.series]:
        findings.append(f"outputs with axes beside time, {left}, have no gradients here; take `model.only([...])`.")
    if not findings and method == LIKELIHOOD_RATIO:
        findings += model.dynamics.score_findings(model, theta, names, design)
    return findings


def _steps(theta, names, steps: Mapping[str, float], method: str) -> tuple[dict[str, float], list[str]]:
    """Distances of finite differences by parameter, and what is wrong with those that are given."""
    if method not in (DIFFERENCES, PATHWISE):
        return {}, [f"steps are given, but the method {method!r} takes none."] if steps else []
    findings = [f"there is a step for {name!r}, which is not asked for." for name in steps if name not in names]
    distances = {}
    for name in (each for each in names if each in theta):
        step = steps.get(name, STEP * abs(float(theta[name])) if np.ndim(theta[name]) == 0 else np.nan)
        if not is_number(step) or not 0 < step < np.inf:
            more = "" if name in steps else ", where no share of it is a step"
            findings.append(f"{name!r} is {float(theta[name]):g}{more}; give steps={{{name!r}: a positive number}}.")
        distances[name] = step
    return distances, findings
