"""Tempering: from the prior to the posterior through powers of the likelihood, without gradients.

Particles are drawn from the prior and follow the densities prior x likelihood^b with b rising from 0 to 1 (sequential
Monte Carlo, Del Moral, Doucet & Jasra 2006, doi:10.1111/j.1467-9868.2006.00553.x). Each b is chosen so that a share
`KEPT` of the particles stays effective; particles are then drawn again by their weights and moved. The moves are those
of differential evolution (ter Braak 2006, doi:10.1007/s11222-006-8769-1): a half of the particles moves by differences
of the other half, which have the width of the density and its correlations, and now and then by a whole one, which
leads from one mode to another. They go on until particles have forgotten where they began.

Where modes are known particles begin in them as well (`reference`), and the densities lead from that mixture to the
posterior.

Coordinates are standard normal by the prior: quantiles of the epistemic parameters, standardised latents of units. The
product of the mean weights estimates the evidence, the density of the data under the model and its prior, without bias;
independent runs say with which error. A likelihood that is itself an unbiased estimate may be used in place of the
density, if each particle keeps its estimate until it moves (Andrieu & Roberts 2009, doi:10.1214/07-AOS574).
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import ndtr
from jaxtyping import Array, Float
from scipy.optimize import brentq
from scipy.special import logsumexp

from ..annotations import AnyArray
from ..errors import InputError
from ..likelihoods import Likelihood, findings_around, with_units
from ..space import Theta
from .reference import OF_PRIOR, Reference

# Share of the particles that stays effective from one power to the next.
KEPT = 0.5
# Fewer particles than this do not follow a density; of more than were asked for, as many are kept.
LEAST_PARTICLES = 500
# Moves end when the correlation with where particles began is below this in every coordinate, or there were so many:
# at the last power, from which draws are kept, and at those on the way.
FORGOTTEN, MOST_MOVES = 0.1, 200
FORGOTTEN_BETWEEN, MOST_BETWEEN = 0.5, 20
# Every so many moves particles move by a whole difference.
WHOLE = 5
# The spread around a difference, as a part of it, without which particles would stay in the span of the others.
SPREAD = 1e-2
BATCH = 64
# What is said of a run beside its draws.
OF_TEMPERING = ("ancestor", "log_evidence", "levels", "forgotten")


def tempered_chain(
    likelihood: Likelihood,
    draws: int,
    seed: int,
    update: Callable[[float], None] = lambda share: None,
    particles: int = 0,
    values: Mapping[str, Float[AnyArray, " rows"]] | None = None,
    reference: Reference | None = None,
) -> xr.DataTree:
    """One independent run: draws from the posterior and an estimate of the evidence, as one chain.

    Args:
        draws: how many are kept.
        seed: of everything random.
        update: called with the share that is done, the power of the likelihood.
        particles: how many follow the densities; at least as many as draws and `LEAST_PARTICLES`.
        values: output -> values in the places of the data; default the data.
        reference: the density of particles at the beginning; default the prior.

    Returns:
        /posterior and /sample_stats with `logp`, the log density of the data at each draw, `ancestor`, the number of
        the particle at the beginning that it descends from, `diverging` (never), and by chain `log_evidence`, `levels`,
        the powers that it took, and `forgotten`, the largest correlation of draws with where their last moves began.

    Raises:
        InputError: no particle has a density.
    """
    particles, size = max(particles, draws, LEAST_PARTICLES), _size(likelihood)
    # those that begin in modes are as many as there would be without them
    particles = particles if reference is None else int(particles / (1 - OF_PRIOR))
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    z = rng.standard_normal((particles, size)) if reference is None else reference.sample(particles, rng)
    density = np.asarray(_densities(likelihood, reference, z, jax.random.split(key, particles), values))
    if not np.any(np.isfinite(density)):
        sentence = f"there is no density at any of {particles} draws from the prior; at the prior medians:"
        raise InputError(f"calibrate {likelihood.study.name!r}", [sentence, *findings_around(likelihood, {})])
    power, log_evidence, levels, correlation = 0.0, 0.0, 0, np.nan
    ancestor = np.arange(particles)
    while power < 1:
        rise = _rise(density, 1 - power)
        weights = rise * density
        log_evidence += float(logsumexp(weights) - np.log(particles))
        power, levels = min(power + rise, 1.0), levels + 1
        chosen = _resampled(weights, rng)
        z, density, ancestor = z[chosen], density[chosen], ancestor[chosen]
        key, own = jax.random.split(key)
        z, density, correlation = _moved(likelihood, reference, z, density, power, own, values)
        update(power)
    kept = np.linspace(0, particles - 1, draws).astype(int)
    z, density = z[kept], density[kept]
    if reference is not None:
        density = density + np.asarray(reference.log_ratio(z))
    theta = parameters_at(likelihood, z)
    return _tree(likelihood, theta, density, ancestor[kept], log_evidence, levels, correlation)


def evidence(stats: xr.Dataset) -> tuple[float, float]:
    """Logarithm of the evidence and its standard error, NaN of a single run, from independent runs."""
    values = np.asarray(stats["log_evidence"].values, float)
    runs = len(values)
    if runs == 1:
        return float(values[0]), np.nan
    # the estimates are unbiased, not their logarithms
    mean = float(logsumexp(values) - np.log(runs))
    return mean, float(np.std(np.exp(values - mean), ddof=1) / np.sqrt(runs))


def _size(likelihood: Likelihood) -> int:
    space = likelihood.study.model.space
    return len(space.epistemic) + len(space.aleatory) * len(likelihood.study.units)


def parameters_at(likelihood: Likelihood, z: Float[AnyArray, "n size"]) -> Theta:
    """The value of every parameter at each of these points."""
    return jax.vmap(partial(_place, likelihood))(jnp.asarray(z))


def _place(likelihood: Likelihood, z: Float[Array, " size"]) -> Theta:
    """The value of every parameter at z."""
    space, units = likelihood.study.model.space, len(likelihood.study.units)
    known = len(space.epistemic)
    columns = np.array([space.free.index(name) for name in space.epistemic], int)
    free = jnp.full(len(space.free), 0.5).at[columns].set(ndtr(z[:known]))
    theta = {**space.from_cube(free), **likelihood.study.covariates}
    return with_units(space, theta, z[known:].reshape(units, len(space.aleatory))) if space.aleatory else theta


@partial(jax.jit, static_argnums=0)
def _densities(likelihood: Likelihood, reference, z: Float[Array, "n size"], keys: Array, values) -> Float[Array, " n"]:
    """Log density of the data at each particle, -inf where it is not a number; less that of the reference, by prior."""
    estimated = "pseudo_marginal" in likelihood.capabilities

    def one(each):
        point, key = each
        return likelihood.log_density(_place(likelihood, point), key if estimated else None, values)

    z = jnp.asarray(z)
    found = jax.lax.map(one, (z, keys), batch_size=BATCH)
    found = found if reference is None else found - reference.log_ratio(z)
    return jnp.where(jnp.isnan(found), -jnp.inf, found)


def _rise(density: np.ndarray, most: float) -> float:
    """By how much the power may rise so that a share `KEPT` of those with a density stays effective."""
    known = density[np.isfinite(density)]

    def too_few(rise: float) -> float:
        effective = np.exp(2 * logsumexp(rise * known) - logsumexp(2 * rise * known))
        return effective - KEPT * len(known)

    if too_few(most) >= 0:
        return most
    # density ratios may be e^(10^6) and more: the root is sought in the logarithm
    return float(np.exp(brentq(lambda log: too_few(np.exp(log)), np.log(1e-300), np.log(most))))


def _resampled(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling, in random order."""
    share = np.exp(weights - logsumexp(weights))
    points = (rng.uniform() + np.arange(len(share))) / len(share)
    chosen = np.minimum(np.searchsorted(np.cumsum(share), points), len(share) - 1)
    return rng.permutation(chosen)


def _moved(likelihood: Likelihood, reference, z, density, power: float, key, values):
    """Particles after their moves, with their log densities, and how much they remember of where they began."""
    began = np.asarray(z)
    forgotten, most = (FORGOTTEN, MOST_MOVES) if power == 1 else (FORGOTTEN_BETWEEN, MOST_BETWEEN)
    z, density = jnp.asarray(z), jnp.asarray(density)
    for move in range(1, most + 1):
        key, own = jax.random.split(key)
        z, density = _move(likelihood, reference, z, density, power, move % WHOLE == 0, own, values)
        correlation = _correlation(began, np.asarray(z))
        if correlation < forgotten:
            break
    return np.asarray(z), np.asarray(density), correlation


@partial(jax.jit, static_argnums=0)
def _move(likelihood: Likelihood, reference, z, density, power, whole, key, values):
    """Both halves of the particles, one after the other, by differences of the other half."""
    half = z.shape[0] // 2
    for first, own_key in zip((True, False), jax.random.split(key), strict=True):
        own, other = (z[:half], z[half:]) if first else (z[half:], z[:half])
        value = density[:half] if first else density[half:]
        moved, found = _half_moved(likelihood, reference, own, other, value, power, whole, own_key, values)
        z = jnp.concatenate([moved, other] if first else [other, moved])
        rest = density[half:] if first else density[:half]
        density = jnp.concatenate([found, rest] if first else [rest, found])
    return z, density


def _half_moved(likelihood, reference, own, other, density, power, whole, key, values):
    count, size = own.shape
    pairs, spread, accept, estimate, scale = jax.random.split(key, 5)
    first = jax.random.randint(pairs, (count,), 0, other.shape[0])
    second = (first + jax.random.randint(jax.random.fold_in(pairs, 1), (count,), 1, other.shape[0])) % other.shape[0]
    # the best step of a normal density, and smaller ones for others
    step = 2.38 / np.sqrt(2 * size) * jnp.exp(-1.5 * jax.random.uniform(scale, (count, 1)))
    step = jnp.where(whole, 1.0, step)
    difference = step * (other[first] - other[second])
    proposed = own + difference * (1 + SPREAD * jax.random.normal(spread, own.shape))
    value = _densities(likelihood, reference, proposed, jax.random.split(estimate, count), values)
    begin = -0.5 * jnp.sum(proposed**2 - own**2, axis=1)
    if reference is not None:
        begin = begin + reference.log_ratio(proposed) - reference.log_ratio(own)
    # a density of none stays one to the power 0
    ratio = begin + power * (value - density)
    accepted = jnp.isfinite(value) & (jnp.log(jax.random.uniform(accept, (count,))) < ratio)
    return jnp.where(accepted[:, None], proposed, own), jnp.where(accepted, value, density)


def _correlation(began: np.ndarray, now: np.ndarray) -> float:
    """The largest correlation over the coordinates."""
    centred = [each - each.mean(axis=0) for each in (began, now)]
    scale = np.sqrt(np.prod([np.sum(each**2, axis=0) for each in centred], axis=0))
    return float(np.max(np.sum(centred[0] * centred[1], axis=0) / np.where(scale > 0, scale, np.inf)))


def _tree(likelihood, theta, density, ancestor, log_evidence, levels, correlation) -> xr.DataTree:
    study = likelihood.study
    space, draws = study.model.space, len(density)
    coordinates = {"chain": [0], "draw": np.arange(draws)}
    units = {study.unit_column: list(study.units)} if space.aleatory else {}
    posterior = {
        name: (("chain", "draw", *(units if name in space.aleatory else ())), np.asarray(theta[name])[None])
        for name in space.free
    }
    stats = {
        "diverging": (("chain", "draw"), np.zeros((1, draws), bool)),
        "logp": (("chain", "draw"), density[None]),
        "ancestor": (("chain", "draw"), ancestor[None]),
        "log_evidence": ("chain", [log_evidence]),
        "levels": ("chain", [levels]),
        "forgotten": ("chain", [correlation]),
    }
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(posterior, coordinates | units),
            "sample_stats": xr.Dataset(stats, coordinates),
        }
    )
