"""Disks, spheres and fibres at random places of a periodic cell, at a fixed volume fraction.

Where they lie is drawn once; the distance of every cell to the nearest centre or axis is a field, and the inclusions
are where it is below their radius. The radius follows from the volume fraction, and so does its gradient, by the
implicit function theorem: the medium that is differentiated has the same places and grown inclusions. Cells within one
cell of an interface have values between 0 and 1 (composite cells): what has a gradient is this surrogate, an interface
two cells wide.
"""

from collections.abc import Sequence
from itertools import product
from math import gamma, pi

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..errors import InputError
from .fractions import Scalar, is_known, volume_fraction

# Most steps to the radius, enough for bisections alone, and the change of it, in cells, whose square is rounding: it is
# followed by another step.
STEPS, RADIUS_TOLERANCE = 60, 1e-8


def random_places(
    key: PRNGKeyArray, count: int, extent: Sequence[float], *, fraction: float | None = None, attempts: int = 100_000
) -> Float[Array, "count axes"]:
    """Centres in a periodic cell, uniform or such that disks or spheres around them do not overlap.

    Args:
        key: of the draw. count: how many. extent: of the cell along each of one to three axes.
        fraction: None: independent places. A number: the volume fraction up to which equal disks or spheres around
            them are apart, by random sequential addition: each place is uniform among those left free.
        attempts: places that are tried before it is given up.

    Returns:
        the places, from 0 to the extent; NaN where the key is traced and no room was found.

    Raises:
        InputError: numbers that are not positive; a fraction at which no room was found (random sequential addition
            jams near .748, .547 and .384 in one to three dimensions, Torquato 2002, section 3.4).

    Example:
        >>> random_places(jax.random.key(0), 3, (1.0, 1.0), fraction=0.2).shape
        (3, 2)
    """
    _raise(_place_findings(count, extent, fraction))
    sizes = jnp.asarray(extent, float)
    if fraction is None:
        return jax.random.uniform(key, (count, len(extent))) * sizes
    apart = 2.0 * ball_radius(fraction, count, extent)

    def unfinished(state):
        _, placed, tried = state
        return (placed < count) & (tried < attempts)

    def attempt(state):
        places, placed, tried = state
        place = jax.random.uniform(jax.random.fold_in(key, tried), (len(extent),)) * sizes
        away = _nearest_image(places - place, sizes)
        near = (jnp.sum(away**2, axis=-1) < apart**2) & (jnp.arange(count) < placed)
        free = ~jnp.any(near)
        return jnp.where(free, places.at[placed].set(place), places), placed + free, tried + 1

    start = (jnp.zeros((count, len(extent))), jnp.zeros((), int), jnp.zeros((), int))
    places, placed, _ = jax.lax.while_loop(unfinished, attempt, start)
    if not is_known(placed):
        return jnp.where(placed < count, jnp.nan, places)
    if int(placed) < count:
        raise InputError(
            "inclusions",
            [
                f"only {int(placed)} of {count} inclusions found room at the volume fraction {fraction:g} within "
                f"{attempts} attempts; give a smaller fraction, or None, which lets them overlap."
            ],
        )
    return jnp.where(placed == count, places, jnp.nan)


def random_directions(key: PRNGKeyArray, count: int, axes: int) -> Float[Array, "count axes"]:
    """Unit vectors, uniform on the circle or sphere."""
    vectors = jax.random.normal(key, (count, axes))
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)


def ball_radius(fraction: Scalar, count: int, extent: Sequence[float]) -> Array:
    """Radius of `count` equal disks or spheres (in one dimension half lengths) that do not overlap.

    Raises:
        InputError: a fraction outside 0 to 1, no disk, an extent that is not positive.
    """
    _raise(_place_findings(count, extent, None))
    axes = len(extent)
    unit = pi ** (axes / 2) / gamma(axes / 2 + 1)
    return (volume_fraction(fraction, "inclusions") * float(np.prod(extent)) / (count * unit)) ** (1.0 / axes)


def distance_to_balls(
    places: Float[Array, "count axes"], shape: Sequence[int], extent: Sequence[float]
) -> Float[Array, "*grid"]:
    """Distance of the middle of each cell to the nearest centre, across the faces of the periodic cell too.

    Args:
        places: centres. shape: cells of the grid along each axis. extent: of the periodic cell, in the unit of places.
    """
    checked_shapes(places, places, shape, extent)

    def nearer(least, place):
        # a square for each axis: the grid is gone through once for each centre, to add and compare
        parts = [
            _nearest_image(middles - here, size) ** 2
            for middles, here, size in zip(_middles(shape, extent), place, extent, strict=True)
        ]
        return jnp.minimum(least, sum(jnp.ix_(*parts))), None

    far = jnp.full(tuple(shape), float(np.sum(np.square(extent))))
    return jnp.sqrt(jax.lax.scan(nearer, far, places)[0])


def distance_to_fibres(
    places: Float[Array, "count axes"],
    directions: Float[Array, "count axes"],
    length: Scalar,
    shape: Sequence[int],
    extent: Sequence[float],
) -> Float[Array, "*grid"]:
    """Distance of the middle of each cell to the axis of the nearest fibre, a piece of a straight line.

    Args:
        places: middles of the fibres. directions: unit vectors. length: of the axes, at most the shortest extent of
            the cell. shape: cells of the grid along each axis. extent: of the periodic cell, in the unit of places.

    Raises:
        InputError: fibres longer than the cell, shapes that do not match.

    Example:
        >>> middle = jnp.array([[0.5, 0.5]])
        >>> distance_to_fibres(middle, jnp.array([[1.0, 0.0]]), 0.5, (2, 2), (1.0, 1.0)).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    findings = _shape_findings(places, directions, shape, extent)
    if not findings and is_known(length) and not 0 <= float(length) <= min(extent):
        findings.append(f"the fibres are {length} long in a cell of {tuple(extent)}; give 0 to {min(extent)}.")
    _raise(findings)
    # a fibre may be nearer to a cell through a face that its middle is far from
    images = np.array(list(product((-1.0, 0.0, 1.0), repeat=len(shape)))) * np.asarray(extent)
    return _distance(places, directions, length, shape, extent, images)


def _middles(shape: Sequence[int], extent: Sequence[float]) -> list[np.ndarray]:
    """Of the cells, along each axis."""
    return [(np.arange(cells) + 0.5) / cells * size for cells, size in zip(shape, extent, strict=True)]


def _distance(places, directions, length, shape, extent, images) -> Array:
    """Distance of each cell to the nearest axis, seen through each of the images of the nearest middle."""
    sizes = jnp.asarray(extent, float)
    grid = jnp.stack(jnp.meshgrid(*_middles(shape, extent), indexing="ij"), axis=-1)

    def nearer(least, fibre):
        place, direction = fibre
        away = _nearest_image(grid - place, sizes)

        def through(least, image):
            offset = away + image
            along = jnp.clip(offset @ direction, -0.5 * length, 0.5 * length)
            return jnp.minimum(least, jnp.sum((offset - along[..., None] * direction) ** 2, axis=-1)), None

        return jax.lax.scan(through, least, images)[0], None

    far = jnp.full(tuple(shape), float(np.sum(np.square(extent))))
    square, _ = jax.lax.scan(nearer, far, (places, directions))
    return jnp.sqrt(square)


def grown(
    distance: Float[Array, "*grid"], fraction: Scalar, spacing: Scalar
) -> tuple[Float[Array, "*grid"], Float[Array, ""]]:
    """The inclusions whose volume fraction on the grid is the one given, and their radius.

    Args:
        distance: of each cell to the nearest centre or axis. fraction: volume fraction. spacing: size of a cell.

    Returns:
        share of each cell that is inside, with the mean `fraction`, and the radius, in the unit of the distance; both
        differentiable by the fraction. NaN where a traced fraction is not between 0 and 1.

    Raises:
        InputError: a fraction outside 0 to 1, or an inclusion of less than two cells across, which the grid is too
            coarse for.
    """
    target = volume_fraction(fraction, "inclusions")
    still = jax.lax.stop_gradient(distance)

    root = _radius(still, jax.lax.stop_gradient(target), spacing)
    # Newton's steps carry derivatives and the last digits: one the first, two the second as well
    radius = root
    for _ in range(2):
        surface = jnp.mean(_surface(distance, radius, spacing))
        radius = radius + (target - jnp.mean(_inside(distance, radius, spacing))) / surface
    if is_known(radius) and float(radius) < float(spacing):
        raise InputError(
            "inclusions",
            [
                f"the grid is too coarse: at the volume fraction {float(target):g} an inclusion is {float(radius):.3g} "
                f"in radius, and a cell {float(spacing):g}. Take more cells, or fewer inclusions."
            ],
        )
    return _inside(distance, radius, spacing), radius


def _radius(distance: Array, target: Array, spacing: Scalar) -> Array:
    """Where the mean of `_inside` is the target: Newton's steps, and halves of the bracket where they leave it."""

    def unfinished(state):
        step, _, _, radius, last = state
        # NaN, of a target that is none, ends it too
        return (step < STEPS) & (jnp.abs(radius - last) > RADIUS_TOLERANCE * spacing)

    def improve(state):
        step, low, high, radius, _ = state
        excess = jnp.mean(_inside(distance, radius, spacing)) - target
        low, high = jnp.where(excess < 0, radius, low), jnp.where(excess < 0, high, radius)
        newton = radius - excess / jnp.mean(_surface(distance, radius, spacing))
        # not finite where no interface is near
        better = jnp.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
        return step + 1, low, high, better + 0.0 * target, radius

    low, high = jnp.min(distance) - spacing, jnp.max(distance) + spacing
    return jax.lax.while_loop(unfinished, improve, (0, low, high, 0.5 * (low + high), high))[3]


def _inside(distance: Array, radius: Array, spacing: Scalar) -> Array:
    # a cubic from 0 to 1 across two cells, whose slope has no jumps as the radius grows
    across = jnp.clip((radius - distance) / spacing, -1.0, 1.0)
    return 0.5 + 0.25 * across * (3.0 - across**2)


def _surface(distance: Array, radius: Array, spacing: Scalar) -> Array:
    """The derivative of `_inside` by the radius."""
    across = jnp.clip((radius - distance) / spacing, -1.0, 1.0)
    return 0.75 * (1.0 - across**2) / spacing


def _nearest_image(offset: Array, extent: Array | float) -> Array:
    return offset - extent * jnp.round(offset / extent)


def _raise(findings: list[str]) -> None:
    if findings:
        raise InputError("inclusions", findings)


def _shape_findings(places: Array, directions: Array, shape: Sequence[int], extent: Sequence[float]) -> list[str]:
    axes = len(shape)
    if len(extent) == axes and places.ndim == 2 and places.shape[-1] == axes and directions.shape == places.shape:
        return []
    return [
        f"the grid has {axes} axes, the extent {len(extent)}, places the shape {places.shape}, directions "
        f"{directions.shape}; give one number for each axis."
    ]


def checked_shapes(places: Array, directions: Array, shape: Sequence[int], extent: Sequence[float]) -> None:
    """Raises an `InputError` where places, directions, grid and extent do not have the same axes."""
    _raise(_shape_findings(places, directions, shape, extent))


def _place_findings(count: int, extent: Sequence[float], fraction: float | None) -> list[str]:
    findings = []
    if count < 1:
        findings.append(f"count is {count}; give 1 or more.")
    if not 1 <= len(extent) <= 3 or not all(0 < size < np.inf for size in extent):
        findings.append(f"the extent is {tuple(extent)}; give one to three positive numbers.")
    if fraction is not None and not 0 < fraction < 1:
        findings.append(f"the volume fraction is {fraction}; give a number between 0 and 1, or None.")
    return findings
