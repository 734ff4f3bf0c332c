"""Parameter spaces that were written for other packages: what their distributions are called here.

SALib describes a problem by parallel lists (names, bounds, dists), in which the meaning of "bounds" depends on the name
of the distribution; chaospy by objects that wrap a standard family into shifts and scales. Both are read here without
importing either package. A translation may fail silently: the same word with another parametrisation gives numbers
that look right. So SALib's table is held to SALib's own scaling by the tests, and every chaospy distribution is
compared, when it is read, with the quantiles that chaospy itself computes for it.

What has no counterpart is refused by name, never approximated.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .distributions import (
    Beta,
    Cauchy,
    Distribution,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    LogNormal,
    LogUniform,
    Normal,
    StudentT,
    TruncatedNormal,
    Uniform,
)
from .errors import InputError, nearest


class Family(NamedTuple):
    """One of SALib's distributions: what its "bounds" mean, in order, and its counterpart (None: there is none)."""

    meaning: tuple[tuple[str, ...], ...]
    translate: Callable[..., Distribution | None]


def _truncated(lower: float, upper: float, mu: float, sigma: float) -> Distribution:
    """Half of a centred normal has a name of its own."""
    if mu == 0 == lower and upper == np.inf:
        return HalfNormal(sigma)
    return TruncatedNormal(mu, sigma, lower, upper)


def _weibull(shape: float, scale: float, location: float = 0.0) -> Distribution | None:
    return Exponential(1 / scale) if shape == 1 and location == 0 and scale > 0 else None


# Meanings as in SALib.util._nonuniform_scale_samples (SALib 1.6).
SALIB = {
    "unif": Family((("lower", "upper"),), Uniform),
    "logunif": Family((("lower", "upper"),), LogUniform),
    "norm": Family((("mean", "standard deviation"),), Normal),
    "lognorm": Family((("mean of the logarithm", "standard deviation of the logarithm"),), LogNormal),
    "truncnorm": Family((("lower", "upper", "mean", "standard deviation"),), _truncated),
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


class ChaospyLike(Protocol):
    """What is used of a chaospy distribution beyond its class, parameters and owners."""

    stochastic_dependent: bool

    def __len__(self) -> int: ...
    def inv(self, u: np.ndarray) -> np.ndarray: ...


def from_chaospy(joint: ChaospyLike, names: Sequence[str]) -> dict[str, Distribution]:
    """The marginal distributions of a chaospy joint with independent components.

    Every translation is verified: its quantiles from 0.001 to 0.999 must be those that chaospy computes.

    Args:
        joint: `chaospy.J(...)`, or a single distribution.
        names: one per component.

    Returns:
        name -> distribution, in the order of the components.

    Raises:
        InputError: with every finding: names, dependent components, families that do not exist here, distributions
            whose quantiles chaospy computes differently.
    """
    names, findings = [names] if isinstance(names, str) else list(map(str, names)), []
    if "Distribution" not in _classes(joint):
        raise InputError("chaospy joint", [f"it is a {type(joint).__name__}; give chaospy.J(...)."])
    if len(names) != len(joint):
        findings.append(f"there are {len(names)} names for {len(joint)} components; give one per component.")
    findings += [f"the name {name!r} is there twice." for name in dict.fromkeys(names) if names.count(name) > 1]
    found = {}
    for index, name in zip(range(len(joint)), names, strict=False):
        if len(joint._dependencies[index]) > 1:
            findings.append(
                f"{name!r} depends on another component; build the space with a distribution that names that one, as "
                'in Normal("other", 1.0).'
            )
            continue
        part, owner = joint._owners[index] if "J" in _classes(joint) else (0, joint)
        if len(owner) > 1:
            findings.append(f"{name!r} is component {part} of {owner}; give independent components one by one.")
            continue
        try:
            found[name] = _verified(owner)
        except InputError as error:
            findings += [f"{name!r}: {finding}" for finding in error.findings]
    if findings:
        raise InputError("chaospy joint", findings)
    return found


def _classes(thing) -> list[str]:
    return [each.__name__ for each in type(thing).__mro__]


def _verified(dist) -> Distribution:
    u = np.array([0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])
    found = _from_chaospy(dist)
    try:
        theirs = np.ravel(dist.inv(u))
    except Exception as error:  # whatever chaospy raises, its distribution cannot be verified
        raise InputError(
            "", [f"chaospy has no quantiles for {dist} ({error!r}); write it without operators."]
        ) from None
    ours = np.asarray(found.ppf(u))
    if not np.allclose(ours, theirs, rtol=1e-8, atol=1e-10 * np.ptp(theirs)):
        worst = u[np.argmax(np.abs(ours - theirs))]
        raise InputError(
            "",
            [
                f"chaospy's quantiles of {dist} are not those of {found}, most at {worst}: "
                f"{theirs[u == worst][0]:.10g} against {ours[u == worst][0]:.10g}. Name the family that you mean."
            ],
        )
    return found


def _from_chaospy(dist) -> Distribution:
    """The family of the innermost distribution, with the shifts and scales around it."""
    core, shift, scale = _unwrapped(dist)
    family = CHAOSPY.get(type(core).__name__)
    if family is None:
        what = "" if core is dist else f" (inside it: {type(core).__name__})"
        hint = "use TruncNormal, or " if type(core).__name__ == "Trunc" else ""
        known = "Uniform, Normal, LogNormal, Exponential, Gamma, Beta, LogUniform, TruncNormal, StudentT, Cauchy"
        raise InputError("", [f"{dist}{what} has no counterpart here; {hint}give one of {known}."])
    numbers = {key: float(np.ravel(value)[0]) for key, value in core._parameters.items()}
    found = family(shift, scale, **numbers) if scale > 0 else None
    if found is None:
        raise InputError(
            "",
            [
                f"{dist} is {type(core).__name__} with shift {shift:g} and scale {scale:g}, which has no counterpart "
                "here; leave shift and scale out, and apply them inside the model."
            ],
        )
    return found


def _unwrapped(dist) -> tuple[object, float, float]:
    """The innermost distribution, and the shift and scale that lead from it to `dist`."""
    shift, scale = 0.0, 1.0

    def numbers(*keys):
        values = [dist._parameters[key] for key in keys]
        if any("Distribution" in _classes(value) for value in values):
            raise InputError("", [f"{dist} has arguments that are distributions; give numbers."])
        return [float(np.ravel(value)[0]) for value in values]

    while True:
        classes = _classes(dist)
        if "ShiftScaleDistribution" in classes:
            inner_shift, inner_scale = numbers("shift", "scale")
            inner = dist._dist
        elif "LowerUpperDistribution" in classes:
            (lower, upper), inner = numbers("lower", "upper"), dist._dist
            low, high = float(inner.lower[0]), float(inner.upper[0])
            inner_scale = (upper - lower) / (high - low)
            inner_shift = lower - low * inner_scale
        elif classes[0] in ("Add", "Multiply"):
            left, right = dist._parameters["left"], dist._parameters["right"]
            inner, key = (left, "right") if "Distribution" in _classes(left) else (right, "left")
            (number,) = numbers(key)
            inner_shift, inner_scale = (number, 1.0) if classes[0] == "Add" else (0.0, number)
        else:
            return dist, shift, scale
        shift, scale, dist = shift + scale * inner_shift, scale * inner_scale, inner


def _unshifted(family: Callable[..., Distribution]) -> Callable[..., Distribution | None]:
    """For families that cannot be shifted."""
    return lambda shift, scale, **numbers: None if shift else family(scale, **numbers)


# Class of chaospy's standard distribution -> (shift, scale, **its parameters) -> ours, or None.
CHAOSPY: dict[str, Callable[..., Distribution | None]] = {
    "uniform": lambda shift, scale: Uniform(shift - scale, shift + scale),
    "normal": lambda shift, scale: Normal(shift, scale),
    "cauchy": lambda shift, scale: Cauchy(shift, scale),
    "student_t": lambda shift, scale, a: StudentT(a, shift, scale),
    "trunc_normal": lambda shift, scale, a, b, mu, sigma: _truncated(
        shift + scale * a, shift + scale * b, shift + scale * mu, scale * sigma
    ),
    "log_normal": _unshifted(lambda scale, a: LogNormal(float(np.log(scale)), a)),
    "gamma": _unshifted(lambda scale, a: Exponential(1 / scale) if a == 1 else Gamma(a, 1 / scale)),
    "log_uniform": _unshifted(lambda scale, lo, up: LogUniform(scale * float(np.exp(lo)), scale * float(np.exp(up)))),
    "reciprocal": _unshifted(lambda scale, lower, upper: LogUniform(scale * lower, scale * upper)),
    "folded_normal": _unshifted(lambda scale, c: HalfNormal(scale) if c == 0 else None),
    "folded_cauchy": _unshifted(lambda scale, c: HalfCauchy(scale) if c == 0 else None),
    "beta_": _unshifted(lambda scale, a, b: Beta(a, b) if scale == 1 else None),
}
