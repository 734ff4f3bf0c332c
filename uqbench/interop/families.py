"""What exchanges with other packages have in common."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..distributions import Distribution, HalfNormal, TruncatedNormal

if TYPE_CHECKING:
    from ..space import Space


def truncated_normal(lower: float, upper: float, mu: float, sigma: float) -> Distribution:
    """Half of a centred normal has a name of its own."""
    if mu == 0 == lower and upper == np.inf:
        return HalfNormal(sigma)
    return TruncatedNormal(mu, sigma, lower, upper)


def families_of(space: "Space", table: Mapping[str, Callable[..., tuple]], package: str) -> tuple[list, list[str]]:
    """What `table` makes of each free parameter, in the order of `space.free`, and every finding."""
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
