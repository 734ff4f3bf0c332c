"""The most probable latents of many units at once: Newton's steps without second derivatives of the model, mixed."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..annotations import AnyArray
from ..space import Theta
from .independent import Independent
from .latents import natural_slopes, with_natural

# Steps to the modes, how close they come, the first damping of a step, and how many times as long as a step one that is
# mixed of two may be.
STEPS, CLOSE, DAMPING, LONGEST = 30, 1e-2, 1e-2, 10.0


class Climb(NamedTuple):
    """A search for the modes of all units at once, see `highest`; arrays lead with units.

    Args:
        z, found: the highest points so far, and what the likelihood says there, see `highest`.
        density: of the data and the latents there.
        tried: the points to be looked at next.
        damping: added to the curvature; it grows where a step was refused.
        last, last_step: the points before z and the damped Newton steps from there; NaN where there is none to compare
            with.
        mixed: whether the points to be looked at are more than a damped Newton step away.
        moved, number: the longest Newton step of any unit; how often the density was asked for.
    """

    z: Float[Array, "units k"]
    found: tuple[Array, ...]
    density: Float[Array, " units"]
    tried: Float[Array, "units k"]
    damping: Float[Array, " units"]
    last: Float[Array, "units k"]
    last_step: Float[Array, "units k"]
    mixed: Bool[Array, " units"]
    moved: Float[Array, ""]
    number: Int[Array, ""]


def highest(likelihood: Callable, start: Float[Array, "units k"], more: tuple[Array, ...] = ()):
    """Where the log density of each unit's data and latents, standard normal before, is highest.

    The information leaves out second derivatives of the model, so that Newton's steps converge linearly only, where
    data lie far from the model each by a factor of .7 or .9. Two steps tell how they go on: the next one is mixed of
    them (Anderson 1965, doi:10.1145/321296.321305, with one step of memory) as long as it goes uphill, and where the
    density is then lower a plain step takes its place.

    Args:
        likelihood: `function(z)` -> log likelihood `(units,)`, its gradient `(units, k)`, information `(units, k, k)`,
            and what else is asked for.
        more: arrays of the shapes of these others.

    Returns:
        z, and what `likelihood` says of the last point before.
    """
    units, k = start.shape
    nothing = jnp.full((units, k), jnp.nan)
    found = jnp.full(units, -jnp.inf), jnp.zeros((units, k)), jnp.zeros((units, k, k)), *more

    def chosen(better, new, old):
        return jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    def step(now: Climb) -> Climb:
        new = likelihood(now.tried)
        density = new[0] - 0.5 * jnp.sum(now.tried**2, axis=-1)
        better = density >= now.density - 1e-9 * jnp.abs(now.density)
        # at first there is nothing to be better than
        better = better | (now.number == 0)
        found = tuple(chosen(better, *each) for each in zip(new, now.found, strict=True))
        z = chosen(better, now.tried, now.z)
        refused = jnp.where(now.mixed, now.damping, 10.0 * jnp.maximum(now.damping, DAMPING))
        damping = jnp.where(better, 0.1 * now.damping, refused)
        gradient, damped = found[1] - z, found[2] + (1.0 + damping[:, None, None]) * jnp.eye(k)
        change = jnp.linalg.solve(damped, gradient[..., None])[..., 0]
        other = change - now.last_step
        share = jnp.sum(other * change, axis=-1) / jnp.sum(other**2, axis=-1)
        mix = change - share[:, None] * (z - now.last + other)
        # NaN, as where there is no step before, is no longer than anything
        short = jnp.sum(mix**2, axis=-1) <= LONGEST**2 * jnp.sum(change**2, axis=-1)
        mixed = better & short & (jnp.sum(mix * gradient, axis=-1) > 0.0)
        return Climb(
            z,
            found,
            chosen(better, density, now.density),
            z + chosen(mixed, mix, change),
            damping,
            chosen(better, z, nothing),
            chosen(better, change, nothing),
            mixed,
            jnp.max(jnp.abs(change)),
            now.number + 1,
        )

    unmixed = jnp.zeros(units, bool)
    begin = Climb(
        start,
        found,
        found[0],
        start,
        jnp.full(units, DAMPING),
        nothing,
        nothing,
        unmixed,
        jnp.asarray(jnp.inf),
        jnp.asarray(0),
    )
    end = jax.lax.while_loop(lambda now: (now.moved > CLOSE) & (now.number < STEPS), step, begin)
    return end.z, end.found


class Modes(NamedTuple):
    """The most probable latents of units given their data, and what the data say near there.

    Args:
        z: standardised latents.
        information: on these.
        natural: their natural coordinates (`latents.natural`), as far as `natural_gradient` of the log likelihood by
            these and `natural_information` on them, which do not depend on how wide a distribution is.
    """

    z: Float[Array, "units k"]
    information: Float[Array, "units k k"]
    natural: Float[Array, "units k"]
    natural_gradient: Float[Array, "units k"]
    natural_information: Float[Array, "units k k"]


def modes_of_units(
    conditional: Independent, theta: Theta, values: Mapping[str, Float[AnyArray, " rows"]] | None
) -> Modes:
    """Most probable standardised latents of each unit given its data.

    Args:
        conditional: the likelihood given the parameters of every unit.
        theta: value of every other parameter.
        values: as of `Likelihood.log_density`.
    """
    space, observations = conditional.study.model.space, conditional.observations
    theta, count = observations.of_units(theta), len(space.aleatory)

    def likelihood(z):
        y, slopes = natural_slopes(space, theta, z)
        # one shift for all units: each row sees that of its own
        rows = conditional.row_scores(lambda shift: with_natural(space, theta, y + shift), jnp.zeros(count), values)
        own = jnp.einsum("rak,ral->rkl", rows.root, rows.root)
        density, gradient, information = map(conditional.sums_by_unit, (rows.density, rows.gradient, own))
        by_latents = jnp.einsum("uki,ukl,ulj->uij", slopes, information, slopes)
        return density, jnp.einsum("uki,uk->ui", slopes, gradient), by_latents, y, gradient, information

    start = jnp.zeros((observations.units, count))
    square = jnp.zeros((observations.units, count, count))
    z, (_, _, information, *more) = highest(likelihood, start, (start, start, square))
    return Modes(z, information, *more)
