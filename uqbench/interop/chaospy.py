"""Chaospy joints: read as distributions, written from a space.

Chaospy has objects that wrap a standard family into shifts and scales. They are read without importing the package,
and each is compared with the quantiles that chaospy itself computes for it: a translation may fail silently, since the
same word with another parametrisation gives numbers that look right.

Only what means exactly the same there is translated; what has no counterpart is refused by name, never approximated. A
distribution that names other parameters has none, since only joints of independent components are exchanged. Fixed
parameters are no inputs and are left out.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..distributions import (
    Beta,
    Cauchy,
    Distribution,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    Laplace,
    LogNormal,
    LogUniform,
    Normal,
    StudentT,
    Uniform,
)
from ..errors import InputError
from .families import families_of, truncated_normal

if TYPE_CHECKING:
    import chaospy

    from ..space import Space


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
        known = (
            "Uniform, Normal, LogNormal, Exponential, Gamma, Beta, LogUniform, TruncNormal, StudentT, Cauchy, Laplace"
        )
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
    "laplace": lambda shift, scale: Laplace(shift, scale),
    "student_t": lambda shift, scale, a: StudentT(a, shift, scale),
    "trunc_normal": lambda shift, scale, a, b, mu, sigma: truncated_normal(
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


# Family -> chaospy's name and its arguments.
TO_CHAOSPY: dict[str, Callable[..., tuple[str, dict[str, float]]]] = {
    "Uniform": lambda lower, upper: ("Uniform", {"lower": lower, "upper": upper}),
    "LogUniform": lambda lower, upper: ("LogUniform", {"lower": np.log(lower), "upper": np.log(upper)}),
    "Normal": lambda mu, sigma: ("Normal", {"mu": mu, "sigma": sigma}),
    "LogNormal": lambda mu, sigma: ("LogNormal", {"mu": mu, "sigma": sigma}),
    "TruncatedNormal": lambda mu, sigma, lower, upper: (
        "TruncNormal",
        {"lower": lower, "upper": upper, "mu": mu, "sigma": sigma},
    ),
    # chaospy inverts its FoldedNormal by iteration; half of a normal is also a truncated one, in closed form.
    "HalfNormal": lambda sigma: ("TruncNormal", {"lower": 0.0, "upper": np.inf, "mu": 0.0, "sigma": sigma}),
    "Exponential": lambda lam: ("Exponential", {"scale": 1 / lam}),
    "Gamma": lambda alpha, beta: ("Gamma", {"shape": alpha, "scale": 1 / beta}),
    "Beta": lambda alpha, beta: ("Beta", {"alpha": alpha, "beta": beta}),
    "StudentT": lambda nu, mu, sigma: ("StudentT", {"df": nu, "mu": mu, "sigma": sigma}),
    "Laplace": lambda mu, b: ("Laplace", {"mu": mu, "sigma": b}),
    "Cauchy": lambda alpha, beta: ("Cauchy", {"scale": beta, "shift": alpha}),
}


def to_chaospy(space: "Space") -> "chaospy.J":
    """A space as a chaospy joint of independent components, in the order of `space.free`.

    Args:
        space: free parameters of any continuous family but HalfCauchy.

    Returns:
        `chaospy.J`; its `inv` at points of the unit cube gives the values of `space.from_cube`.

    Raises:
        InputError: with every finding: families that chaospy does not have, distributions that name parameters.

    Example:
        >>> from uqbench import Gamma, Space, epistemic
        >>> to_chaospy(Space(a=epistemic(Gamma(2, 4))))
        J(Gamma(2.0, scale=0.25))
    """
    families, findings = families_of(space, TO_CHAOSPY, "chaospy")
    if findings:
        raise InputError("to_chaospy", findings)
    import chaospy

    return chaospy.J(*(getattr(chaospy, family)(**arguments) for family, arguments in families))
