"""Fisher information: how well the parameters could be known from such data, to first order.

Where every unit is alike the information is exact: each measurement adds J' I J, with J the sensitivities of all
arguments of its noise (not of the mean alone: a noise parameter would look unknown) and I the information of its
family. Where parameters differ between units, a unit's data are taken as jointly normal around the median unit and
linear in what differs (first-order population information: Mentre, Mallet & Baccar 1997,
doi:10.1093/biomet/84.2.429), without what the covariance would say about locations: that term rewards curvature which
the linearisation has just dropped, and standard errors come out too small (Nyberg et al. 2015, doi:10.1111/bcp.12352;
seen here as well: .09 against .22 for log ka of theophylline).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import ndtr

from ..annotations import Values
from ..errors import InputError, nearest
from ..likelihoods import Likelihood, likelihood_of, root_of
from ..space import Space, Theta
from ..study import Study

SCALES = ("log", "natural")
# What rounding leaves of a derivative that vanishes, against the terms that it is summed from; and of a direction in
# which derivatives cancel, against these.
ROUNDING, CANCELLED = 16 * np.finfo(float).eps, 1e-10
# Directions with a smaller share of the information are looked at with a finer solve, of a tolerance so much smaller.
DOUBTFUL, FINER = 1e-3, 1e-2
# Two solves agree on the information along a direction if they do up to this factor in the sensitivity.
AGREE = 2.0


def fisher_information(study: Study, theta: Values | None = None, *, scale: str = "log") -> xr.Dataset:
    """Fisher information of a study's measurements on its epistemic parameters.

    Args:
        study: its data, or without data the measurements planned by its designs. theta: where to evaluate; epistemic
            parameters that are missing take their prior medians, aleatory ones are ignored. scale: "log" takes
            logarithms of the parameters that are positive by their prior, so that eigenvectors are
            free of units; "natural" takes none.

    Returns:
        `matrix` (parameter, parameter_), `eigenvalue` (mode) falling (0 where the data do not determine a direction),
        `direction` (mode, parameter), `cramer_rao` (parameter) the smallest standard error on that scale (inf where
        the data do not determine the parameter), `standard_error` the same in the parameter's unit, `value`,
        `logarithmic`; attributes `rank`, `condition` and `scale`. Which directions are not determined is decided by
        a finer solve, see `decomposed`.

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
    root = None if findings else np.asarray(_root(likelihood, place, start))
    if root is not None and not np.all(np.isfinite(root)):
        findings = ["the information is not finite; give other values of `theta`."]
    if findings:
        raise InputError(f"fisher_information of study {study.name!r} at these parameter values", findings)
    size = np.where(logarithmic, 1.0, np.abs(value))
    found = decomposed(root, lambda: _finer_root(study, place, start), size)
    return _dataset(names, found, np.asarray(value), logarithmic, scale)


def _findings(likelihood: Likelihood, theta: Values) -> list[str]:
    """Why there is no information at `theta`, for median units."""
    space = likelihood.study.model.space
    units = _units(space, theta, jnp.zeros(len(space.aleatory)))
    return likelihood.information_findings({**theta, **units})


def _root(likelihood: Likelihood, place, vector):
    """Sensitivities J `(rows, k)` of which J'J is the information; over units, they being alike or not."""
    if likelihood.study.model.space.aleatory:
        return root_of(_population(likelihood, place, vector))
    return jax.jit(lambda vector: likelihood.sensitivities(place, vector))(vector)


def _finer_root(study: Study, place, vector) -> np.ndarray | None:
    """The same from solves with a smaller tolerance; None where there are none, or they fail."""
    model = study.model
    finer = model.dynamics.with_tolerance(FINER)
    if finer is None:
        return None
    root = np.asarray(_root(likelihood_of(replace(study, model=replace(model, system=finer))), place, vector))
    return root if np.all(np.isfinite(root)) else None


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


@dataclass(frozen=True)
class Decomposed:
    """What a Fisher information determines.

    Args:
        matrix: `(k, k)`, the information.
        eigenvalue: `(k,)`, falling; 0 in the directions that are not determined. direction: `(k, k)`, by rows.
        cramer_rao: `(k,)` least standard errors, inf where a parameter is not determined.
        rank: how many directions are determined.
    """

    matrix: np.ndarray
    eigenvalue: np.ndarray
    direction: np.ndarray
    cramer_rao: np.ndarray
    rank: int


def decomposed(root: np.ndarray, finer: Callable[[], np.ndarray | None], size: np.ndarray) -> Decomposed:
    """The directions that sensitivities J determine, which come from solves and have their errors.

    Parameters whose effects differ by orders of magnitude are each compared with themselves: the columns of J are
    scaled to length one. A direction v whose |J v| is small may owe it to the error of the solve alone. Whether it does
    is seen in a finer solve: what is left of |J v| there is the same if it is real, and smaller by the ratio of the
    tolerances if it is error. (A bound from the tolerance would not do: sensitivities that dynamics magnify are wrong
    by more, and errors that all columns have in common hide nothing.)

    Null vectors have errors too. With the singular values s_j and vectors v_j of the determined directions, and J v = e
    where it should vanish, entry i of v is wrong by up to |e| (sum_j v_ij^2 / s_j^2)^1/2, to first order. A parameter
    with no larger share in the null space is not lost with it.

    Args:
        root: J, `(rows, k)`.
        finer: the same from a finer solve, asked for where it matters; None where there is none, so that what is
            beyond rounding is real, or it failed.
        size: `(k,)` of the parameters on the scale of J, by which a sensitivity of rounding alone is told.
    """
    coarse, effect = root, np.linalg.norm(root, axis=0)
    felt = effect * size > ROUNDING * np.max(effect * size, initial=0.0)
    felt = np.where(size > 0, felt, effect > 0)
    inverse = np.where(felt, 1.0 / np.where(felt, effect, 1.0), 0.0)
    singular, vectors = _singular(root * inverse)
    if singular[-1] < DOUBTFUL * singular[0] and (found := finer()) is not None:
        root = found
        singular, vectors = _singular(root * inverse)
    along = np.linalg.norm((coarse * inverse) @ vectors.T, axis=0)
    kept = (singular > CANCELLED * singular[0]) & (along < AGREE * singular)
    variance = (vectors[kept] ** 2).T @ (1.0 / singular[kept] ** 2)
    error = max(np.max(along[~kept], initial=0.0), CANCELLED * singular[0])
    lost = (np.sum(vectors[~kept] ** 2, axis=0) > error**2 * variance) | ~felt
    rank = int(kept.sum())
    values, direction = _singular(singular[kept, None] * vectors[kept] * np.where(felt, effect, 0.0))
    eigenvalue = np.where(np.arange(len(values)) < rank, values**2, 0.0)
    cramer_rao = np.where(lost, np.inf, np.sqrt(variance) * inverse)
    return Decomposed(root.T @ root, eigenvalue, direction, cramer_rao, rank)


def _singular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values `(k,)` and right singular vectors `(k, k)`, by rows, also of fewer rows than k."""
    count = matrix.shape[1]
    _, values, vectors = np.linalg.svd(np.vstack([matrix, np.zeros((count, count))]), full_matrices=False)
    return values, vectors


def _dataset(names, found: Decomposed, value, logarithmic, scale) -> xr.Dataset:
    largest, smallest = found.eigenvalue[0], found.eigenvalue[-1]
    return xr.Dataset(
        {
            "matrix": (("parameter", "parameter_"), found.matrix),
            "eigenvalue": ("mode", found.eigenvalue),
            "direction": (("mode", "parameter"), found.direction),
            "cramer_rao": ("parameter", found.cramer_rao),
            "standard_error": ("parameter", found.cramer_rao * np.where(logarithmic, np.abs(value), 1.0)),
            "value": ("parameter", value),
            "logarithmic": ("parameter", logarithmic),
        },
        coords={"parameter": list(names), "parameter_": list(names), "mode": np.arange(len(names))},
        attrs={
            "rank": found.rank,
            "condition": float(largest / smallest) if smallest > 0 else float("inf"),
            "scale": scale,
        },
    )
