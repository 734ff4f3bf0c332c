"""Parameters that differ between units together: a normal distribution of several of them, or of their logarithms.

The distribution of the first is as given; that of each next one is conditional on those before it, by formulas of their
values. Its correlations are parameters of their own, with the prior of Lewandowski, Kurowicka & Joe (2009,
doi:10.1016/j.jmva.2009.04.008).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from .distributions import Correlation, LogNormal, Normal
from .errors import InputError
from .space import Parameter, aleatory, epistemic


def correlated(
    parameters: Mapping[str, Parameter] | None = None, /, *, eta: float = 1.0, **more: Parameter
) -> dict[str, Parameter]:
    """The parameters given, correlated with one another, and their correlations, as entries of a `Space`.

    The correlation of `A` and `B` is the parameter `corr_A_B`; of a pair without the first of all parameters it is the
    partial one, given those before them: see `correlation_matrix`.

    Args:
        parameters: name -> aleatory parameter, Normal or LogNormal; or keywords. They may name others of the space.
        eta: of the prior of correlations, whose density is that of the determinant of their matrix to the power of
            eta - 1: uniform for 1, the nearer to none the larger.

    Returns:
        name -> `Parameter`, each after those that it names.

    Raises:
        InputError: fewer than two parameters, other families, or parameters that do not differ between units.

    Example:
        >>> import uqbench as uq
        >>> space = uq.Space(
        ...     **uq.correlated(
        ...         CL=uq.aleatory(uq.LogNormal(median=3.0, sigma=0.3), "L/h"),
        ...         V=uq.aleatory(uq.LogNormal(median=30.0, sigma=0.2), "L"),
        ...         eta=2.0,
        ...     )
        ... )
        >>> space.names
        ('CL', 'corr_CL_V', 'V')
    """
    given = {**(parameters or {}), **more}
    findings = [] if len(given) > 1 else ["give at least two parameters."]
    for name, parameter in given.items():
        if not isinstance(parameter, Parameter) or parameter.role != "aleatory":
            findings.append(f"{name!r} does not differ between units; make it aleatory(...).")
        elif type(parameter.dist) not in (Normal, LogNormal):
            findings.append(f"{name!r} has {parameter.dist!r}; correlated parameters are Normal or LogNormal.")
    if not eta > 0:
        findings.append(f"eta is {eta!r}; it must be positive.")
    if findings:
        raise InputError("correlated", findings)
    names, found = [*given], dict[str, Parameter]()
    # by parameter: how far it is from its mean, in standard deviations, apart from what those before it explain
    own: list[str] = []
    for row, (name, parameter) in enumerate(given.items()):
        dist = parameter.dist
        # as found above
        assert isinstance(dist, Normal | LogNormal)
        mean, sd, value = _location(name, dist)
        explained, left = [], "1"
        for column in range(row):
            correlation = correlation_name(names[column], name)
            found[correlation] = epistemic(Correlation(eta + (len(names) - 2 - column) / 2))
            explained.append(f"{correlation}*sqrt({left})*{own[column]}")
            left = f"{left}*(1 - {correlation}**2)"
        there = " + ".join(explained) or "0"
        own.append(f"((({value} - {mean})/{sd} - ({there}))/sqrt({left}))")
        if row:
            conditional = type(dist)(f"{mean} + {sd}*({there})", f"{sd}*sqrt({left})")
            parameter = aleatory(conditional, parameter.unit, parameter.doc)
        found[name] = parameter
    return found


def correlation_name(one: str, other: str) -> str:
    """Of the parameter that is the correlation of two."""
    return f"corr_{one}_{other}"


def correlation_matrix(values: Mapping, names: Sequence[str]) -> Float[np.ndarray, "*draws k k"]:
    """The correlations of parameters from those, in part partial, that `correlated` has made of them.

    Args:
        values: name -> value, `(*draws,)`, such as a posterior. names: of the parameters, in the order given.

    Example:
        >>> correlation_matrix({"corr_a_b": 0.5}, ["a", "b"]).round(9).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    partial = {
        (row, column): np.asarray(values[correlation_name(names[column], names[row])], float)
        for row in range(len(names))
        for column in range(row)
    }
    lower = np.zeros((*np.shape(partial[1, 0]), len(names), len(names)))
    for row in range(len(names)):
        left = np.ones(lower.shape[:-2])
        for column in range(row):
            lower[..., row, column] = partial[row, column] * np.sqrt(left)
            left = left * (1 - partial[row, column] ** 2)
        lower[..., row, row] = np.sqrt(left)
    return lower @ np.swapaxes(lower, -1, -2)


def _location(name: str, dist: Normal | LogNormal) -> tuple[str, str, str]:
    """Formulas of the mean and the standard deviation of a parameter or of its logarithm, and of its value there."""
    arguments = dist.arguments
    mean = f"log({arguments['median']})" if "median" in arguments else f"({arguments['mu']})"
    return mean, f"({arguments['sigma']})", f"log({name})" if isinstance(dist, LogNormal) else name
