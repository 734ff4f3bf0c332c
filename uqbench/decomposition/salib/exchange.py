"""Spaces for other packages: a SALib problem, a chaospy joint (the way back is `Space.from_salib`, `from_chaospy`).

Only what means exactly the same there is translated. A distribution that names other parameters does not: both packages
describe independent inputs. Fixed parameters are no inputs and are left out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ...space import Space

if TYPE_CHECKING:
    import chaospy

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
    "Cauchy": lambda alpha, beta: ("Cauchy", {"scale": beta, "shift": alpha}),
}


def to_salib(space: Space, *, groups: Mapping[str, Sequence[str]] | None = None) -> dict:
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
    translated, findings = _translated(space, TO_SALIB, "SALib")
    problem = {
        "num_vars": len(translated),
        "names": list(space.free),
        "bounds": [bounds for _, bounds in translated],
        "dists": [dist for dist, _ in translated],
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


def to_chaospy(space: Space) -> "chaospy.J":
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
    translated, findings = _translated(space, TO_CHAOSPY, "chaospy")
    if findings:
        raise InputError("to_chaospy", findings)
    import chaospy

    return chaospy.J(*(getattr(chaospy, family)(**arguments) for family, arguments in translated))


def _translated(space: Space, table: Mapping[str, Callable[..., tuple]], package: str) -> tuple[list, list[str]]:
    translated, findings = [], [] if space.free else ["the space has no free parameter; there is nothing to describe."]
    for name in space.free:
        dist = space[name].dist
        family = type(dist).__name__
        if dist.names:
            findings.append(
                f"the distribution of {name!r} names {', '.join(map(repr, dist.names))}, but inputs of {package} are "
                "independent; keep to uqbench's engines, or give numbers."
            )
        elif family not in table:
            findings.append(
                f"{name!r} is {dist!r}, which {package} does not have; it has {', '.join(table)}. salib_sample works "
                "in the unit cube with any distribution."
            )
        else:
            translated.append(table[family](**{key: float(value) for key, value in dist.canonical().items()}))
    return translated, findings
