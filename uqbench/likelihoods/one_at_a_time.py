"""Why data have no density, and which parameters, changed one at a time, give them one."""

from collections.abc import Mapping

import jax
import numpy as np

from ..space import Theta
from .protocol import Likelihood

# Quantiles of its prior at which a parameter is tried, those near its median first.
TRIED = (0.25, 0.75, 0.05, 0.95, 0.001, 0.999)


def findings_around(likelihood: Likelihood, values: Mapping[str, float]) -> list[str]:
    """Why the data have no density at the prior medians, or at other values of some parameters; empty where they do.

    Args:
        values: of parameters that are not at their medians.

    Returns:
        what is wrong there, and a sentence with the parameters of which another value alone gives a density.
    """
    study, space = likelihood.study, likelihood.study.model.space
    theta = space.nominal() | {name: np.asarray(value) for name, value in values.items()}
    theta |= {name: np.full(len(study.units), theta[name]) for name in space.aleatory}
    key = jax.random.key(0) if "pseudo_marginal" in likelihood.capabilities else None
    found = likelihood.density_findings(theta, key)
    return [*found, _which_parameters(likelihood, theta, key)] if found else []


def _which_parameters(likelihood: Likelihood, theta: Theta, key: jax.Array | None) -> str:
    space = likelihood.study.model.space
    named = []
    for index, name in enumerate(space.free):
        moved = np.full((len(TRIED), len(space.free)), 0.5)
        moved[:, index] = TRIED
        for value in space.from_cube(moved)[name]:
            changed = theta | {name: np.broadcast_to(value, np.shape(theta[name]))}
            if not likelihood.density_findings(changed, key):
                named.append(f"{name!r} at {float(value):.4g} instead of {float(np.mean(theta[name])):.4g}")
                break
    if named:
        return f"one parameter changed alone gives a density: {', or '.join(named)}."
    return "no parameter changed alone within its prior gives a density."
