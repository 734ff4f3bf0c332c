"""SALib problems: read as distributions, written from a space.

SALib describes a problem by parallel lists (names, bounds, dists), in which the meaning of "bounds" depends on the name
of the distribution. A translation may fail silently: the same word with another parametrisation gives numbers that look
right. So the table is held to SALib's own scaling by the tests. Nothing here imports SALib.

Only what means exactly the same there is translated; what has no counterpart is refused by name, never approximated. A
distribution that names other parameters has none, since SALib's inputs are independent. Fixed parameters are no inputs
and are left out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..distributions import Distribution, Exponential, LogNormal, LogUniform, Normal, Uniform
from ..errors import InputError, nearest
from .families import families_of, truncated_normal

if TYPE_CHECKING:
    from ..space import Space


class Family(NamedTuple):
    """One of SALib's distributions: what its "bounds" mean, in order, and its counterpart (None: there is none)."""

    meaning: tuple[tuple[str, ...], ...]
    translate: Callable[..., Distribution | None]


def _weibull(shape: float, scale: float, location: float = 0.0) -> Distribution | None:
    return Exponential(1 / scale) if shape == 1 and location == 0 and scale > 0 else None


# Meanings as in SALib.util._nonuniform_scale_samples (SALib 1.6).
SALIB = {
    "unif": Family((("lower", "upper"),), Uniform),
    "logunif": Family((("lower", "upper"),), LogUniform),
    "norm": Family((("mean", "standard deviation"),), Normal),
    "lognorm": Family((("mean of the logarithm", "standard deviation of the logarithm"),), LogNormal),
    "truncnorm": Family((("lower", "upper", "mean", "standard deviation"),), truncated_normal),
    "triang": Family((("lower", "upper", "peak as a share of the width"), ("upper", "peak")), lambda *values: None),
    "weibull": Family((("shape", "scale"), ("shape", "scale", "location")), _weibull),
}
INSTEAD = {
    "triang": "there is no triangular family here; give 'unif' with its bounds, or 'truncnorm' around its peak.",
    "weibull": "of the Weibull family only the exponential exists here (shape 1, location 0); give 'lognorm' or build "
    "the space from uqbench's Gamma(mu=, sigma=) with the same mean and standard deviation.",
}


def from_salib(problem: Mapping) -> dict[str, Distribution]:
    """The distributions of a SALib problem.

    Args:
        problem: a dict, or a `ProblemSpec`, with `names`, `bounds` and optionally `num_vars`, `dists` and `groups`.

    Returns:
        name -> distribution, in the order of the names.

    Raises:
        InputError: with every finding.

    Example:
        >>> from_salib({"names": ["k"], "bounds": [[0.0, 0.5]], "dists": ["lognorm"]})
        {'k': LogNormal(mu=0, sigma=0.5)}
    """
    names, findings = _problem_names(problem)
    bounds = _entries(problem, "bounds", len(names), findings, None)
    dists = _entries(problem, "dists", len(names), findings, "unif")
    _entries(problem, "groups", len(names), findings, None)
    found = {}
    # A list of the wrong length leaves the rest of its entries unjudged.
    for name, values, dist in zip(names, bounds, dists, strict=False):
        try:
            found[name] = _from_salib(dist, values)
        except InputError as error:
            findings += [f"{name!r}: {finding}" for finding in error.findings]
    if findings:
        raise InputError("SALib problem", findings)
    return found


def salib_groups(problem: Mapping) -> dict[str, tuple[str, ...]]:
    """The groups of a SALib problem as `sobol_plan(groups=...)` takes them; without groups each parameter is one.

    Args:
        problem: a dict, or a `ProblemSpec`, with `names` and optionally `groups`, one label per name.

    Returns:
        label -> names, labels in the order in which they first appear.

    Raises:
        InputError: with every finding.

    Example:
        >>> salib_groups({"names": ["a", "b", "c"], "groups": ["x", "y", "x"]})
        {'x': ('a', 'c'), 'y': ('b',)}
    """
    names, findings = _problem_names(problem)
    labels = _entries(problem, "groups", len(names), findings, None)
    if findings:
        raise InputError("SALib problem", findings)
    groups: dict[str, tuple[str, ...]] = {}
    for name, label in zip(names, labels, strict=True):
        label = name if label is None else str(label)
        groups[label] = (*groups.get(label, ()), name)
    return groups


def _problem_names(problem: Mapping) -> tuple[list[str], list[str]]:
    if not isinstance(problem, Mapping):
        raise InputError("SALib problem", [f"it is a {type(problem).__name__}; give a dict or a ProblemSpec."])
    names = [str(name) for name in problem.get("names", ())]
    findings = [] if names else ["there are no 'names'; list the parameters."]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    findings += [f"the name {name!r} is there {names.count(name)} times; names must differ." for name in twice]
    if problem.get("num_vars", len(names)) != len(names):
        findings.append(f"num_vars is {problem['num_vars']}, but there are {len(names)} names; leave num_vars out.")
    return names, findings


def _entries(problem: Mapping, key: str, length: int, findings: list[str], default) -> list:
    """One entry per name; a list of another length is a finding."""
    if key not in problem and key == "bounds":
        findings.append("there are no 'bounds'; give one list of numbers per name.")
        return []
    given = problem.get(key)
    if given is None or len(given) == 0:
        return [default] * length
    if len(given) != length:
        findings.append(f"there are {len(given)} {key} for {length} names; give one per name.")
    return list(given)


def _from_salib(dist: str, values: Sequence) -> Distribution:
    family, findings = SALIB.get(dist), []
    if family is None:
        findings.append(f"the distribution {dist!r} is unknown; {nearest(str(dist), list(SALIB))}")
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        findings.append(f"its bounds are {values!r}; give a list of numbers.")
    if findings:
        raise InputError("", findings)
    if len(numbers) not in [len(meaning) for meaning in family.meaning]:
        wanted = " or ".join(f"[{', '.join(meaning)}]" for meaning in family.meaning)
        raise InputError("", [f"{dist!r} takes {wanted}, but {len(numbers)} numbers were given: {numbers}."])
    try:
        found = family.translate(*numbers)
    except InputError as error:
        given = dict(zip(family.meaning[0], numbers, strict=True))
        raise InputError("", [f"{dist!r} with {given}: {finding}." for finding in error.findings]) from None
    if found is None:
        raise InputError("", [f"{dist!r} with {numbers}: {INSTEAD[dist]}"])
    return found


# Family -> SALib's name and "bounds", from the arguments in PyMC's parametrisation.
TO_SALIB: dict[str, Callable[..., tuple[str, list[float]]]] = {
    "Uniform": lambda lower, upper: ("unif", [lower, upper]),
    "LogUniform": lambda lower, upper: ("logunif", [lower, upper]),
    "Normal": lambda mu, sigma: ("norm", [mu, sigma]),
    "LogNormal": lambda mu, sigma: ("lognorm", [mu, sigma]),
    "TruncatedNormal": lambda mu, sigma, lower, upper: ("truncnorm", [lower, upper, mu, sigma]),
    "HalfNormal": lambda sigma: ("truncnorm", [0.0, np.inf, 0.0, sigma]),
    "Exponential": lambda lam: ("weibull", [1.0, 1 / lam]),
}


def to_salib(space: "Space", *, groups: Mapping[str, Sequence[str]] | None = None) -> dict:
    """A space as a SALib problem; fixed parameters are left out.

    Args:
        space: free parameters Uniform, LogUniform, Normal, LogNormal, TruncatedNormal, HalfNormal or Exponential.
        groups: label -> names, every free parameter in exactly one; None: no groups.

    Returns:
        `num_vars`, `names`, `bounds`, `dists` and, if given, `groups`.

    Raises:
        InputError: with every finding: families that SALib does not have, distributions that name parameters, groups.

    Example:
        >>> from uqbench import Normal, Space, epistemic
        >>> to_salib(Space(a=epistemic(Normal(1, 2))))["bounds"]
        [[1.0, 2.0]]
    """
    families, findings = families_of(space, TO_SALIB, "SALib")
    problem = {
        "num_vars": len(families),
        "names": list(space.free),
        "bounds": [bounds for _, bounds in families],
        "dists": [dist for dist, _ in families],
    }
    if groups is not None:
        holders = {name: [label for label, members in groups.items() if name in members] for name in space.free}
        findings += [
            f"parameter {name!r} is in {len(labels)} groups; put it into exactly one."
            for name, labels in holders.items()
            if len(labels) != 1
        ]
        strangers = [name for members in groups.values() for name in members if name not in holders]
        findings += [f"the groups have {name!r}, which is no free parameter; leave it out." for name in strangers]
        problem["groups"] = [labels[0] for labels in holders.values() if labels]
    if findings:
        raise InputError("to_salib", findings)
    return problem
