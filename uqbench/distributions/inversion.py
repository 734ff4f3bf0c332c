"""Quantiles by root finding, for families whose distribution function has no inverse in closed form.

Quantiles are the way from the unit cube to parameters, so they are differentiable in the arguments too, and that
without differentiating the iteration: the distribution function F is inverted numerically and differentiated
implicitly. From F(x; a) = u follows dx = (du - dF/da da) / f(x).

A continuous family gives its two tails, its log-density, a coordinate (`_decode`, from all numbers to the support) and
a first guess there; a family of counts is searched between whole numbers, and its gradient is zero.
"""

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.scipy import special

if TYPE_CHECKING:
    from .base import Distribution


@partial(jax.jit, static_argnums=0)
def inverse(family: "type[Distribution]", u: Array, *primary: Array) -> Array:
    return _differentiable_inverse(family, u, *primary)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _differentiable_inverse(family: "type[Distribution]", u: Array, *primary: Array) -> Array:
    """Newton's method on the logarithm of the smaller tail, kept inside a bracket that bisection shrinks.

    Log-tails are nearly linear or concave in the family's coordinate, where Newton's method converges from afar. It
    runs in that coordinate (log, logit, arcsinh) so that relative accuracy holds from the smallest to the largest
    numbers.
    """
    left = u < 0.5
    target = jnp.log(jnp.where(left, u, 1 - u))

    def step(state):
        low, high, z, _, count = state
        x = family._decode(z)
        tails = family._tails(x, *primary)
        tail = jnp.where(left, *tails)
        excess = jnp.where(left, 1.0, -1.0) * (jnp.log(tail) - target)
        low, high = jnp.where(excess < 0, z, low), jnp.where(excess > 0, z, high)
        slope = jnp.exp(family._logpdf(x, *primary)) * jax.jvp(family._decode, (z,), (jnp.ones_like(z),))[1] / tail
        newton = z - excess / slope
        # The error after a step is about its square: one this small is the last. So is one that `x` cannot resolve. It
        # must not be measured against the bracket, whose end is the previous point up to rounding.
        done = jnp.abs(newton - z) <= 1e-10 * jnp.maximum(jnp.abs(z), 1.0)
        done |= jnp.abs(family._decode(newton) - x) <= 4 * jnp.finfo(x.dtype).eps * jnp.abs(x)
        trusted = done | ((newton > low) & (newton < high))
        return low, high, jnp.where(trusted, newton, 0.5 * (low + high)), done, count + 1

    # Decoded, the bracket spans all floating-point numbers of either sign.
    wide = jnp.full_like(u, 745.0)
    state = (-wide, jnp.where(wide > 709, 709.0, wide), jnp.clip(family._guess(u, *primary), -700, 700))
    state = (*state, jnp.zeros(u.shape, dtype=bool), 0)
    return family._decode(jax.lax.while_loop(lambda s: ~s[3].all() & (s[4] < 150), step, state)[2])


# Arguments that do not change are left out: of the slope of a tail by some of them there is no further derivative, and
# that of the quantile by `u` has one by the arguments only if it is not asked for.
@partial(_differentiable_inverse.defjvp, symbolic_zeros=True)
def _inverse_jvp(family, primals, tangents):
    u, *primary = primals
    x = _differentiable_inverse(family, u, *primary)
    along = [k for k, tangent in enumerate(tangents[1:]) if not isinstance(tangent, SymbolicZero)]

    def lower_tail(*changing):
        arguments = list(primary)
        for k, value in zip(along, changing, strict=True):
            arguments[k] = value
        return family._tails(x, *arguments)[0]

    rise = jnp.zeros_like(x) if isinstance(tangents[0], SymbolicZero) else tangents[0]
    if along:
        changing, by = (tuple(each[k] for k in along) for each in (primary, tangents[1:]))
        rise = rise - jax.jvp(lower_tail, changing, by)[1]
    density = jnp.exp(family._logpdf(x, *primary))
    usable = (density > 0) & (density < jnp.inf)
    return x, jnp.where(usable, rise / jnp.where(usable, density, 1.0), 0.0)


@partial(jax.jit, static_argnums=0)
def smallest_count(family: "type[Distribution]", u: Array, *primary: Array) -> Array:
    """The smallest count whose probability reaches `u` up to rounding: widen around a guess, then bisect."""
    lower, upper = family._support(*primary)
    needed = u * (1 - 8 * jnp.finfo(u.dtype).eps)

    def reaches(count):
        inner = jnp.clip(count, lower, upper)
        return (count >= upper) | ((count >= lower) & ~(family._tails(inner, *primary)[0] < needed))

    def widen(state):
        low, high, width, _ = state
        low_fits, high_fits = ~reaches(low), reaches(high)
        low, high = jnp.where(low_fits, low, low - width), jnp.where(high_fits, high, high + width)
        return low, high, 2 * width, low_fits & high_fits

    # Normal quantile with the first correction for skewness, which for these families is near (2 variance / mean - 1)
    # / deviation.
    mean, variance, normal = family._mean(*primary), family._variance(*primary), special.ndtri(u)
    skew = (2 * variance - mean) / jnp.where(mean > 0, mean, 1.0)
    guess = jnp.clip(jnp.floor(mean + jnp.sqrt(variance) * normal + skew * (normal**2 - 1) / 6), lower, upper)
    state = (guess - 1, guess, jnp.ones_like(guess), jnp.zeros(guess.shape, dtype=bool))
    bounds = jax.lax.while_loop(lambda s: ~s[3].all(), widen, state)[:2]

    def halve(bounds):
        low, high = bounds
        middle = jnp.floor((low + high) / 2)
        enough = reaches(middle)
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    return jax.lax.while_loop(lambda b: (b[1] - b[0] > 1).any(), halve, bounds)[1]
