"""Fisher information with that of the priors at one point, averaged over the prior, and of single units."""

import json
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..annotations import Values
from ..errors import InputError
from ..likelihoods import Likelihood, likelihood_of, root_of
from ..progress import progress
from ..settings import seed_findings, whole_number_findings
from ..study import Study
from .population import median_unit
from .prior import posterior_variance, prior_information, prior_standard_deviations, shrinkage
from .sensitivities import Scale, input_findings, root_function, sensitivities_of
from .spectrum import singular_values, spectrum_of

NOT_FINITE = "the information is not finite"


def bayesian_information(study: Study, theta: Values | None = None, *, scale: str = "log") -> xr.Dataset:
    """Fisher information of the data plus that of the priors: the precision of the posterior to first order.

    The prior's part is E[(d log p / dx)^2], diagonal; a prior that names other parameters is taken given their values.
    It is 1/sigma^2 for Normal, and for LogNormal in logarithms. A density that only jumps at its bounds (Uniform) has
    0, and `note` says so; where the expectation is infinite, or not resolved, it is NaN, and with it all errors.

    Args:
        study, theta, scale: as of `fisher_information`.

    Returns:
        `matrix` (parameter, parameter_), `prior_information` (parameter), `note` (parameter), `eigenvalue` (mode)
        falling and `direction` (mode, parameter) of the matrix, `posterior_sd` (parameter) the square root of the
        diagonal of its inverse (inf where neither data nor prior say anything), all on the scale; `value` in the
        parameter's unit, `logarithmic`; attribute `scale`.

    Raises:
        InputError: as of `fisher_information`.

    Example:
        >>> from studies.product_rate import study
        >>> bayesian_information(study).prior_information.values.round(6)
        array([4., 4.])
    """
    found = sensitivities_of(study, theta, scale, asker="bayesian_information")
    # from the finer solve where the data leave a direction open: there the prior's part must not drown in errors
    root = spectrum_of(found.root, lambda: found.finer_at(found.scale.start), found.size).root
    prior = prior_information(study.model.space, found.scale)
    names, count = list(found.names), len(found.names)
    known = not np.any(np.isnan(prior.information))
    eigenvalue, direction, sd = np.full(count, np.nan), np.full((count, count), np.nan), np.full(count, np.nan)
    if known:
        values, direction = singular_values(np.vstack([root, np.diag(np.sqrt(prior.information))]))
        eigenvalue, sd = values**2, np.sqrt(posterior_variance(root, prior.information))
    return xr.Dataset(
        {
            "matrix": (("parameter", "parameter_"), root.T @ root + np.diag(prior.information)),
            "prior_information": ("parameter", prior.information),
            "note": ("parameter", list(prior.note)),
            "eigenvalue": ("mode", eigenvalue),
            "direction": (("mode", "parameter"), direction),
            "posterior_sd": ("parameter", sd),
            "value": ("parameter", found.scale.value),
            "logarithmic": ("parameter", found.scale.logarithmic),
        },
        {"parameter": names, "parameter_": names, "mode": np.arange(count)},
        {"scale": scale},
    )


def expected_information(study: Study, *, draws: int = 64, seed: int = 0, scale: str = "log") -> xr.Dataset:
    """Fisher information averaged over the prior, and the least mean squared error of any estimator that knows it.

    With the information of the priors added, its inverse bounds the mean squared error over prior and data (van Trees
    1968; Gill & Levit 1995, doi:10.2307/3318681), if the densities of the priors vanish at their bounds: where `note`
    says that one does not, `bound` is NaN. It is a mean over draws, whose standard errors stand beside it. Draws at
    which a solve fails are left out and counted: the mean is then over the others.

    Args:
        study, scale: as of `fisher_information`. draws: of the epistemic parameters from their priors, 2 or more.
        seed: of the draws.

    Returns:
        `matrix` and `matrix_standard_error` (parameter, parameter_), of the data alone; `prior_information` and
        `note` (parameter), as of `bayesian_information`; `bound` (parameter) the least root mean squared error, with
        `bound_standard_error` from the draws, to first order; all on the scale. Attributes `draws`, `used`, `scale`
        and `failed_draws`, reason -> how many, as JSON.

    Raises:
        InputError: settings, or fewer than two draws at which there is an information.

    Example:
        >>> from studies.product_rate import study
        >>> expected_information(study, draws=4).attrs["used"]
        4
    """
    findings = input_findings(study.model.space, None, scale) + whole_number_findings({"draws": (draws, 2)})
    if findings := findings + seed_findings(seed):
        raise InputError("expected_information", findings)
    likelihood = likelihood_of(study)
    subject = f"expected_information of study {study.name!r}"
    likelihood.require("moments" if study.model.space.aleatory else "information", subject)
    point = Scale.of(study.model.space, None, scale)
    each, failed = _over_draws(likelihood, point, draws, seed)
    if len(each) < 2:
        reasons = [f"{count} of {draws} draws: {reason}" for reason, count in failed.items()]
        raise InputError(subject, [*reasons, "fewer than two draws are left; narrow the priors."])
    mean, error = each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))
    prior = prior_information(study.model.space, point)
    bound, bound_error = _bound(each, np.where([bool(note) for note in prior.note], np.nan, prior.information))
    names, both = list(point.names), ("parameter", "parameter_")
    return xr.Dataset(
        {
            "matrix": (both, mean),
            "matrix_standard_error": (both, error),
            "prior_information": ("parameter", prior.information),
            "note": ("parameter", list(prior.note)),
            "bound": ("parameter", bound),
            "bound_standard_error": ("parameter", bound_error),
        },
        {"parameter": names, "parameter_": names},
        {"draws": draws, "used": len(each), "failed_draws": json.dumps(failed), "scale": scale},
    )


def unit_information(study: Study, theta: Values | None = None, *, scale: str = "log") -> xr.Dataset:
    """Fisher information of each unit's data on the unit's own, aleatory, parameters, given the population.

    It is that of the median unit under each unit's design. Against it stands how much units differ: `shrinkage` is 1
    minus the ratio of a unit's posterior variance to the variance between units, 1 where its data say all.

    Args:
        study: with aleatory parameters. theta: values of the epistemic parameters; medians of those that are missing.
        scale: "log" takes logarithms of the aleatory parameters that are positive, "natural" of none.

    Returns:
        `matrix` (unit, parameter, parameter_), `cramer_rao` (unit, parameter) least standard errors from the unit's
        data alone (inf where they do not determine the parameter), `between_sd` (parameter) between units, and
        `shrinkage` (unit, parameter), all on the scale; `value` (parameter) of the median unit; attribute `scale`.

    Raises:
        InputError: as of `fisher_information`; a study without aleatory parameters.

    Example:
        >>> from studies.theophylline import study
        >>> unit_information(study).sizes["unit"]
        12
    """
    space = study.model.space
    findings = input_findings(space, theta, scale)
    if not space.aleatory:
        findings.append(f"study {study.name!r} has no aleatory parameters; `fisher_information` is about the others.")
    if findings:
        raise InputError("unit_information", findings)
    likelihood = likelihood_of(study)
    subject = f"unit_information of study {study.name!r}"
    likelihood.require("information", subject)
    known = median_unit(space, Scale.of(space, theta, scale).known)
    point = Scale.of(space, known, scale, names=space.aleatory)
    if findings := [*point.findings(), *likelihood.information_findings(known)]:
        raise InputError(f"{subject} at these parameter values", findings)
    matrices = np.asarray(jax.jit(lambda x: likelihood.information(point.place, x))(jnp.asarray(point.start)))
    between = prior_standard_deviations(space, point)
    roots = [np.asarray(root_of(jnp.asarray(matrix))) for matrix in matrices]
    alone = np.stack([posterior_variance(root, np.zeros(len(between))) for root in roots])
    shrunk = np.stack([shrinkage(root, between) for root in roots])
    names, units = list(space.aleatory), list(study.units)
    return xr.Dataset(
        {
            "matrix": (("unit", "parameter", "parameter_"), matrices),
            "cramer_rao": (("unit", "parameter"), np.sqrt(alone)),
            "between_sd": ("parameter", between),
            "shrinkage": (("unit", "parameter"), shrunk),
            "value": ("parameter", point.value),
        },
        {"unit": units, "parameter": names, "parameter_": names},
        {"scale": scale},
    )


def _over_draws(likelihood: Likelihood, point: Scale, draws: int, seed: int) -> tuple[np.ndarray, dict[str, int]]:
    """Informations `(used, k, k)` at draws from the prior, and why the other draws have none."""
    space = likelihood.study.model.space
    sample = space.sample(jax.random.key(seed), (draws,))
    at, failed = root_function(likelihood.study, point), Counter[str]()
    codes = jax.jit(likelihood.results)
    each = []
    with progress("expected information", draws) as update:
        for index in range(draws):
            theta = median_unit(space, {**point.known, **{name: sample[name][index] for name in point.names}})
            reasons = list(likelihood.study.model.dynamics.failures(np.asarray(codes(theta))))
            root = None if reasons else at(point.coordinates(np.array([float(theta[name]) for name in point.names])))
            if root is None:
                failed[reasons[0] if reasons else NOT_FINITE] += 1
            else:
                each.append(root.T @ root)
            update(index + 1, f"{failed.total()} failed" if failed else "")
    return np.array(each), dict(failed)


def _bound(each: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root of the diagonal of (mean + diag(prior))^-1 `(k,)`, and its standard error by the delta method."""
    count, total = len(prior), each.mean(axis=0) + np.diag(prior)
    if np.any(np.isnan(total)):
        return np.full(count, np.nan), np.full(count, np.nan)
    root = np.asarray(root_of(jnp.asarray(each.mean(axis=0))))
    bound = np.sqrt(posterior_variance(root, prior))
    size = np.sqrt(np.diag(total))
    inverse = np.linalg.pinv(total / np.outer(size, size)) / np.outer(size, size)
    moved = np.einsum("ij,djk,ki->di", inverse, each, inverse)
    with np.errstate(invalid="ignore"):
        error = moved.std(axis=0, ddof=1) / np.sqrt(len(each)) / (2 * bound)
    return bound, np.where(np.isfinite(bound), error, np.nan)
