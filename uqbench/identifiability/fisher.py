"""Fisher information: how well the parameters could be known from such data, to first order.

Where every unit is alike the information is exact: each measurement adds J' I J, with J the sensitivities of all
arguments of its noise (not of the mean alone: a noise parameter would look unknown) and I the information of its
family. Where parameters differ between units, a unit's data are taken as jointly normal around the median unit and
linear in what differs (first-order population information: Mentre, Mallet & Baccar 1997,
doi:10.1093/biomet/84.2.429), without what the covariance would say about locations: that term rewards curvature which
the linearisation has just dropped, and standard errors come out too small (Nyberg et al. 2015, doi:10.1111/bcp.12352;
seen here as well: .09 against .22 for log ka of theophylline).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import ndtr

from ..errors import RESULTS, InputError, nearest
from ..model import simulate
from ..observation import Observations, at_rows, noise_arguments, noise_information, observations, per_run
from ..space import Theta
from ..study import Study

SCALES = ("log", "natural")
# Eigenvalues below this share of the largest are zero: sensitivities are good to about 1e-6, their squares to 1e-11.
RANK_TOLERANCE = 1e-11


def fisher_information(study: Study, theta: Theta | None = None, *, scale: str = "log") -> xr.Dataset:
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
    observed = observations(study)

    def place(vector):
        natural = jnp.where(logarithmic, jnp.exp(jnp.where(logarithmic, vector, 0.0)), vector)
        return {**known, **dict(zip(names, natural, strict=True))}

    start = jnp.where(logarithmic, jnp.log(jnp.where(logarithmic, value, 1.0)), value)
    findings = _run_findings(study, observed, place(start))
    information = _population if space.aleatory else _exact
    matrix = None if findings else np.asarray(information(study, observed, place, start))
    if matrix is not None and not np.all(np.isfinite(matrix)):
        findings = ["the information is not finite at these parameter values; give other values of `theta`."]
    if findings:
        raise InputError(f"fisher_information of study {study.name!r}", findings)
    return _dataset(names, matrix, np.asarray(value), logarithmic, scale)


def _run_findings(study: Study, observed: Observations, theta: Theta) -> list[str]:
    """Why there is no information at `theta`, for median units: failed solves, slopes that are not finite."""
    space = study.model.space
    if space.aleatory:
        units = _units(study, theta, jnp.zeros(len(space.aleatory)))
        theta = {**theta, **dict(zip(space.aleatory, units, strict=True))}
    codes, slopes = _result_and_slopes(study, observed, theta)
    codes = np.asarray(codes)
    findings = [
        f"{np.sum(codes == code)} of {len(codes)} runs fail at these parameter values: {RESULTS[int(code)]}"
        for code in np.unique(codes)
        if code
    ]
    for output, (run, when, _) in observed.rows.items():
        named = [other for other in study.model.noise[output].names if other in slopes]
        for name in observed.active:
            rows = np.stack([np.asarray(slopes[other][name])[run, when] for other in named])
            lost = ~np.all(np.isfinite(rows), axis=0) & (codes[run] == 0)
            if lost.any():
                findings.append(
                    f"the derivative with respect to {name!r} of what the noise of {output!r} refers to is not finite "
                    f"at {lost.sum()} of {len(run)} measurements (a root or a power of zero?); give other values of "
                    "`theta`."
                )
    return findings


@partial(jax.jit, static_argnames=("study", "observed"))
def _result_and_slopes(study: Study, observed: Observations, theta: Theta):
    """Result code of each run `(runs,)`, and output -> active parameter -> slope `(runs, times)` as the solve gives it.

    The derivative of a likelihood cannot be asked: where a slope is not finite it may have been replaced, so that a
    sampler can go on.
    """

    def one(theta, design):
        def outputs(moving):
            run = simulate(study.model, {**theta, **moving}, design, method=observed.method)
            return run.outputs, run.result

        slopes, result = jax.jacfwd(outputs, has_aux=True)({name: theta[name] for name in observed.active})
        return result, slopes

    return jax.vmap(one)(per_run(study, observed, theta), observed.design)


def _exact(study: Study, observed: Observations, place, vector):
    """Sum over measurements of J' I J, all units being alike."""

    @jax.jit
    def information(vector):
        jacobian = jax.jacfwd(lambda v: noise_arguments(study, observed, place(v)))(vector)
        weights = noise_information(study, observed, place(vector))
        return sum(
            jnp.einsum("rki,rkl,rlj->ij", jacobian[output], weights[output], jacobian[output]) for output in jacobian
        )

    return information(vector)


def _population(study: Study, observed: Observations, place, vector):
    """First-order information on the population, unit by unit: locations from the mean, spreads from the covariance."""
    members, present = _rows_by_unit(study, observed)
    noise = study.model.noise

    def rows(vector, units):
        """Outputs and parameters behind each row, in a unit whose aleatory parameters are `units`."""
        known, _ = at_rows(
            study, observed, {**place(vector), **dict(zip(study.model.space.aleatory, units, strict=True))}
        )
        return known

    def mean(vector, units):
        known = rows(vector, units)
        return _by_row(observed, {output: noise[output].mean(known[output]) for output in observed.rows})

    def covariance(vector, slope, frozen):
        """Covariance of the rows given how the outputs answer to a unit's parameters: only spreads and noise vary."""
        values = place(vector)
        known = {
            output: {
                name: jnp.broadcast_to(values[name], at.shape) if name in study.model.space.epistemic else at
                for name, at in frozen[output].items()
            }
            for output in observed.rows
        }
        variance = _by_row(observed, {output: noise[output].variance(known[output]) for output in observed.rows})
        spread = slope @ jax.jacfwd(lambda z: _units(study, values, z))(jnp.zeros(len(study.model.space.aleatory)))
        spread = jnp.where(present[..., None], spread[members], 0.0)
        diagonal = jnp.where(present, variance[members], 1.0)
        return jnp.einsum("uri,usi->urs", spread, spread) + jax.vmap(jnp.diag)(diagonal)

    @jax.jit
    def information(vector):
        median = _units(study, place(vector), jnp.zeros(len(study.model.space.aleatory)))
        direct, slope = jax.jacfwd(mean, argnums=(0, 1))(vector, median)
        d_median = jax.jacfwd(lambda v: _units(study, place(v), jnp.zeros_like(median)))(vector)
        d_mean = direct + slope @ d_median
        frozen = rows(vector, median)
        matrix = covariance(vector, slope, frozen)
        d_matrix = jnp.moveaxis(jax.jacfwd(covariance)(vector, slope, frozen), -1, 1)
        # A location moves the outputs of the median unit; what it does to the covariance is left out.
        location = jnp.any(d_median != 0, axis=0) | jnp.array(
            [name in observed.active for name in study.model.space.epistemic]
        )
        d_matrix = jnp.where(location[None, :, None, None], 0.0, d_matrix)
        d_mean = jnp.where(present[..., None], d_mean[members], 0.0)
        solved = jnp.linalg.solve(matrix[:, None], d_matrix)
        from_mean = jnp.einsum("uri,urj->ij", d_mean, jnp.linalg.solve(matrix, d_mean))
        return from_mean + 0.5 * jnp.einsum("uirs,ujsr->ij", solved, solved)

    return information(vector)


def _units(study: Study, theta: Theta, z):
    """Aleatory parameters `(aleatory,)` of a unit whose standardised latents are `z`."""
    space, values = study.model.space, dict(theta)
    for index, name in enumerate(space.aleatory):
        values[name] = space[name].dist.ppf(ndtr(z[index]), values)
    return jnp.stack([values[name] for name in space.aleatory])


def _by_row(observed: Observations, values: dict):
    return jnp.concatenate(
        [jnp.broadcast_to(values[output], (len(run),)) for output, (run, _, _) in observed.rows.items()]
    )


def _rows_by_unit(study: Study, observed: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Row indices of each unit `(units, most)`, padded, and which of them are there."""
    unit = np.concatenate([observed.unit[run] for run, _, _ in observed.rows.values()])
    lists = [np.flatnonzero(unit == index) for index in range(len(study.units))]
    most = max(map(len, lists))
    members = np.stack([np.append(rows, np.zeros(most - len(rows), int)) for rows in lists])
    return members, np.stack([np.arange(most) < len(rows) for rows in lists])


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
