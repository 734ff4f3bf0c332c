"""Individual estimates: what the data say of each unit, and how much of it is only what they say of all others.

Where a unit has few data its estimate is drawn to the middle of the population. By how much is the shrinkage of its
standardised deviations (Savic & Karlsson 2009, doi:10.1208/s12248-009-9133-0): they are standard normal in the
population, whatever the family, the covariates and the correlations, and the means of all units vary less.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import ndtri

from ..compiling import LITTLE_EFFORT
from ..names import DRAWS
from ..space import distribution_of
from ..study import Study
from .predictive import SAMPLE, selected

# Of a variance: beyond it individual estimates say more of the population than of the unit.
HIGH = 0.5
# Probabilities nearer to 0 and 1 have no finite deviation in double precision.
EDGE = 1e-15


def individuals(study: Study, posterior: xr.Dataset) -> xr.Dataset | None:
    """Posterior mean and sd of each unit's parameters, and their shrinkage; None where no parameter differs.

    Returns:
        by `unit` and `parameter` `mean`, `sd`, and `deviation`, the posterior mean of the standardised deviation from
        the population; by `parameter` `shrinkage`, 1 - the variance of deviations over units, with its standard error
        (of a variance over so many units), and `high`, whether it exceeds `HIGH` by more than
        that.
    """
    space, units = study.model.space, study.units
    names = list(space.aleatory)
    if not names or len(units) < 2:
        return None
    draws = [posterior[name].transpose(*DRAWS, ...).values.reshape(-1, len(units)) for name in names]
    deviation = np.stack([each.mean(axis=0) for each in _deviations(study, posterior)], axis=1)
    variance = np.mean(deviation**2, axis=0)
    shrinkage, error = 1 - variance, variance * np.sqrt(2 / len(units))
    return xr.Dataset(
        {
            "mean": (("unit", "parameter"), np.stack([each.mean(axis=0) for each in draws], axis=1)),
            "sd": (("unit", "parameter"), np.stack([each.std(axis=0, ddof=1) for each in draws], axis=1)),
            "deviation": (("unit", "parameter"), deviation),
            "shrinkage": ("parameter", shrinkage),
            "shrinkage_standard_error": ("parameter", error),
            "high": ("parameter", shrinkage - error > HIGH),
        },
        {"unit": [*units], "parameter": names},
        {"limit": HIGH},
    )


def _deviations(study: Study, posterior: xr.Dataset) -> list[np.ndarray]:
    """Standardised deviations of the units from the population at draws, `(draws, units)` of each parameter."""
    space = study.model.space
    flat = selected(posterior).stack({SAMPLE: DRAWS}).transpose(SAMPLE, ...)
    theta = {name: jnp.asarray(flat[name].values)[:, None] for name in space.epistemic}
    theta |= {name: jnp.asarray(flat[name].values) for name in space.aleatory}
    theta |= {name: jnp.asarray(float(np.asarray(space[name].dist))) for name in space.fixed}
    theta |= {name: jnp.asarray(each) for name, each in study.covariates.items()}

    @partial(jax.jit, compiler_options=LITTLE_EFFORT)
    def deviations(theta):
        found = [distribution_of(space, name).cdf(theta[name], theta) for name in space.aleatory]
        return [ndtri(jnp.clip(each, EDGE, 1 - EDGE)) for each in found]

    return [np.asarray(each) for each in deviations(theta)]
