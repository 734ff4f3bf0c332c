"""Fisher information: how well the parameters could be known from such data, to first order.

Where every unit is alike the information is exact: each measurement adds J' I J, with J the sensitivities of all
arguments of its noise (not of the mean alone: a noise parameter would look unknown) and I the information of its
family. Where parameters differ between units, a unit's data are taken as jointly normal around the median unit and
linear in what differs (first-order population information: Mentre, Mallet & Baccar 1997,
doi:10.1093/biomet/84.2.429), without what the covariance would say about locations: that term rewards curvature which
the linearisation has just dropped, and standard errors come out too small (Nyberg et al. 2015, doi:10.1111/bcp.12352;
seen here as well: .09 against .22 for log ka of theophylline).
"""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import ndtr

from ..annotations import Values
from ..errors import InputError, nearest
from ..likelihoods import Likelihood, likelihood_of
from ..space import Space, Theta
from ..study import Study

SCALES = ("log", "natural")
# Eigenvalues below this share of the largest are zero: sensitivities are good to about 1e-6, their squares to 1e-11.
RANK_TOLERANCE = 1e-11


def fisher_information(study: Study, theta: Values | None = None, *, scale: str = "log") -> xr.Dataset:
    """Fisher information of a study's measurements on its epistemic parameters.

    Args:
        study: its data, or without data the measurements planned by its designs. theta: where to evaluate; epistemic
            parameters that are missing take their prior medians, aleatory ones are ignored. scale: "log" takes
            logarithms of the parameters that are positive by their prior, so that eigenvectors are
            free of units; "natural" takes none.

    Returns:
        `matrix` (parameter, parameter_), `eigenvalue` (mode) falling, `direction` (mode, parameter), `cramer_rao`
        (parameter) the smallest standard error on that scale (inf where the data do not determine the parameter),
        `standard_error` the same in the parameter's unit, `value`, `logarithmic`; attributes `rank`, `condition` and
        `scale`.

    Raises:
        InputError: an unknown parameter or scale; a solve that fails at `theta`, or an output whose derivative is not
            finite there: neither has an information, not even one of zero.

    Example:
        >>> from studies.theophylline import study
        >>> fisher_information(study).attrs["rank"]
        7
    """
    space = study.model.space
    findings = [
        f"unknown parameter {name!r}; {nearest(name, space.names)}" for name in theta or {} if name not in space
    ]
    if scale not in SCALES:
        findings.append(f"scale {scale!r}; known are {', '.join(SCALES)}.")
    if findings:
        raise InputError("fisher_information", findings)
    names = space.epistemic
    known = space.nominal() | {name: jnp.asarray(value, float) for name, value in (theta or {}).items()}
    value = jnp.stack([jnp.asarray(known[name], float) for name in names])
    logarithmic = np.array([scale == "log" and float(space[name].dist.support(known)[0]) >= 0 for name in names])
    likelihood = likelihood_of(study)
    likelihood.require("moments" if space.aleatory else "information", f"fisher_information of study {study.name!r}")

    def place(vector):
        natural = jnp.where(logarithmic, jnp.exp(jnp.where(logarithmic, vector, 0.0)), vector)
        return {**known, **dict(zip(names, natural, strict=True))}

    start = jnp.where(logarithmic, jnp.log(jnp.where(logarithmic, value, 1.0)), value)
    findings = _findings(likelihood, place(start))
    information = _population if space.aleatory else _exact
    matrix = None if findings else np.asarray(information(likelihood, place, start))
    if matrix is not None and not np.all(np.isfinite(matrix)):
        findings = ["the information is not finite; give other values of `theta`."]
    if findings:
        raise InputError(f"fisher_information of study {study.name!r} at these parameter values", findings)
    return _dataset(names, matrix, np.asarray(value), logarithmic, scale)


def _findings(likelihood: Likelihood, theta: Values) -> list[str]:
    """Why there is no information at `theta`, for median units."""
    space = likelihood.study.model.space
    units = _units(space, theta, jnp.zeros(len(space.aleatory)))
    return likelihood.information_findings({**theta, **units})


def _exact(likelihood: Likelihood, place, vector):
    """Sum over units, all being alike."""
    return jax.jit(lambda vector: likelihood.information(place, vector).sum(axis=0))(vector)


def _population(likelihood: Likelihood, place, vector):
    """First-order information on the population, unit by unit: locations from the mean, spreads from the covariance."""
    space = likelihood.study.model.space

    def unit(vector, z):
        """Aleatory parameters `(aleatory,)` of a unit whose standardised latents are `z`."""
        return jnp.stack(list(_units(space, place(vector), z).values()))

    def moments(vector, unit):
        return likelihood.moments({**place(vector), **dict(zip(space.aleatory, unit, strict=True))})

    @jax.jit
    def information(vector):
        centre = jnp.zeros(len(space.aleatory))
        median, d_median = unit(vector, centre), jax.jacfwd(unit)(vector, centre)
        covariance = moments(vector, median).covariance
        (d_mean, slope), (d_noise, _) = jax.jacfwd(moments, argnums=(0, 1))(vector, median)

        def between(vector):
            """Covariance of a unit's rows because its parameters vary, given how the outputs answer to them."""
            spread = slope @ jax.jacfwd(unit, argnums=1)(vector, centre)
            return jnp.einsum("uri,usi->urs", spread, spread)

        matrix = covariance + between(vector)
        d_matrix = d_noise + jax.jacfwd(between)(vector)
        # A location moves the outputs of the median unit; what it does to the covariance is left out.
        active = jnp.array([name in likelihood.observations.active for name in space.epistemic])
        location = jnp.any(d_median != 0, axis=0) | active
        d_matrix = jnp.moveaxis(jnp.where(location, 0.0, d_matrix), -1, 1)
        d_mean = d_mean + slope @ d_median
        solved = jnp.linalg.solve(matrix[:, None], d_matrix)
        from_mean = jnp.einsum("uri,urj->ij", d_mean, jnp.linalg.solve(matrix, d_mean))
        return from_mean + 0.5 * jnp.einsum("uirs,ujsr->ij", solved, solved)

    return information(vector)


def _units(space: Space, theta: Values, z) -> Theta:
    """Aleatory parameters of a unit whose standardised latents are `z`, `(aleatory,)`."""
    values = dict(theta)
    for index, name in enumerate(space.aleatory):
        values[name] = space[name].dist.ppf(ndtr(z[index]), values)
    return {name: values[name] for name in space.aleatory}


def _dataset(names, matrix, value, logarithmic, scale) -> xr.Dataset:
    matrix = (matrix + matrix.T) / 2
    eigenvalue, vectors = np.linalg.eigh(matrix)
    eigenvalue, vectors = eigenvalue[::-1], vectors[:, ::-1]
    kept = eigenvalue > RANK_TOLERANCE * max(eigenvalue[0], 0.0)
    inverse = np.where(kept, 1.0 / np.where(kept, eigenvalue, 1.0), 0.0)
    cramer_rao = np.sqrt((vectors**2) @ inverse)
    lost = np.any(np.abs(vectors[:, ~kept]) > 1e-6, axis=1)
    cramer_rao = np.where(lost, np.inf, cramer_rao)
    return xr.Dataset(
        {
            "matrix": (("parameter", "parameter_"), matrix),
            "eigenvalue": ("mode", eigenvalue),
            "direction": (("mode", "parameter"), vectors.T),
            "cramer_rao": ("parameter", cramer_rao),
            "standard_error": ("parameter", cramer_rao * np.where(logarithmic, np.abs(value), 1.0)),
            "value": ("parameter", value),
            "logarithmic": ("parameter", logarithmic),
        },
        coords={"parameter": list(names), "parameter_": list(names), "mode": np.arange(len(names))},
        attrs={
            "rank": int(kept.sum()),
            "condition": float(eigenvalue[0] / eigenvalue[-1]) if kept.all() else float("inf"),
            "scale": scale,
        },
    )
