"""The likelihood of a study: the one that it names, else the one that follows from what its system can do."""

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array

from ..errors import InputError
from ..measurements import with_values
from ..space import Theta
from ..study import Study
from .independent import Independent
from .linear_noise import ambiguity
from .protocol import Likelihood
from .snapshots import Snapshots


@lru_cache(maxsize=16)
def likelihood_of(study: Study) -> Likelihood:
    """The likelihood of a study; one object for each, so that compiled functions are found again.

    Where the study names none: outputs with noise are rows of their own around a deterministic run (`Independent`),
    outputs whose distribution the system gives are draws from it (`Snapshots`), counted with errors or not.

    Raises:
        InputError: nothing is measured; outputs that no one likelihood serves; a system whose outputs are random and
            have no density; linear noise without a word on whether rows follow one cell.
    """
    found = _chosen(study)
    if not isinstance(found, Independent) and any(rows.limited for rows in found.observations.rows.values()):
        raise InputError(
            f"study {study.name!r}",
            [f"values beyond a limit cannot be part of {found.kind}; give measurements with noise of their own."],
        )
    return found


def _chosen(study: Study) -> Likelihood:
    subject, model = f"study {study.name!r}", study.model
    if study.likelihood is not None:
        found = study.likelihood(study)
        if not isinstance(found, Likelihood):
            raise InputError(subject, [f"its `likelihood` returns {found!r}; it must return a likelihoods.Likelihood."])
        return found
    measured = pd.unique(study.table["output"])
    draws = [output for output in measured if output not in model.noise or model.noise[output].of_draws]
    if len(measured) and len(draws) == len(measured):
        return Snapshots.of(study)
    if draws:
        others = ", ".join(repr(str(output)) for output in draws)
        raise InputError(
            subject,
            [
                f"{others} are measured as draws from their distributions and other outputs with noise around one "
                "value; give the study a `likelihood` of both."
            ],
        )
    if model.stochastic:
        raise InputError(subject, [model.dynamics.lacks("density")])
    found = Independent.of(study)
    if findings := ambiguity(study, found.observations):
        raise InputError(subject, findings)
    return found


def log_likelihood(study: Study) -> Callable[..., Array]:
    """The log-likelihood of a study's data as a function of theta (aleatory parameters `(units,)`).

    Returns:
        a traceable function `(theta, key=None)`, with a key where the likelihood is pseudo-marginal; -inf with a zero
        gradient where a solve fails.

    Example:
        >>> from studies.receptor_tf import study
        >>> log_likelihood(study)(study.model.space.nominal()).shape
        ()
    """
    likelihood = likelihood_of(study)

    @jax.jit
    def function(theta: Theta, key: Array | None = None) -> Array:
        return likelihood.log_density(study.model.space.complete(theta), key)

    return function


def simulate_data(study: Study, theta: Theta, key: Array) -> pd.DataFrame:
    """A table like the study's own with values drawn from the model at `theta` (aleatory parameters `(units,)`).

    Those beyond the limits of the table are censored, as they would be.
    """
    values = _simulate(likelihood_of(study), study.model.space.complete(theta), key)
    return with_values(study.table, {output: np.asarray(column) for output, column in values.items()})


@partial(jax.jit, static_argnames="likelihood")
def _simulate(likelihood: Likelihood, theta: Theta, key: Array) -> dict[str, Array]:
    return likelihood.simulate(theta, key)
