"""What is where, and whether anything was made or lost on the way: the balance of every coupled run."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from ..annotations import AnyArray, Numbers, Values
from ..errors import InputError
from .equations import Coupling, Equations, Given


def accounts(equations: Equations, z: Coupling, start: Coupling, given: Given) -> dict[str, Array]:
    """Contents, what has crossed, and residuals of the balance since the start, by the names that `Coupled` says."""
    found: dict[str, Array] = {}
    totals: dict[str, tuple] = {}
    for name, part in equations.parts.items():
        contents, before = _content(part, z["states"][name], given), _content(part, start["states"][name], given)
        for quantity in part.units:
            received = _received(equations, name, quantity, z)
            made = z["supplied"].get(name, {}).get(quantity, jnp.zeros(()))
            change = contents[quantity] - before[quantity]
            found[f"content_{name}_{quantity}"] = contents[quantity]
            found[f"residual_{name}_{quantity}"] = change - received - made
            sums = totals.get(quantity, (0.0, 0.0))
            totals[quantity] = sums[0] + contents[quantity], sums[1] + change - made
    for quantity, (content, residual) in totals.items():
        found[f"content_{quantity}"], found[f"residual_{quantity}"] = content, residual
    return found | {f"crossed_{name}": jnp.sum(amount) for name, amount in z["crossed"].items()}


def account_names(equations: Equations) -> list[str]:
    """The names of what `accounts` gives."""
    parts = [(name, quantity) for name, part in equations.parts.items() for quantity in part.units]
    of_parts = [f"{what}_{name}_{quantity}" for name, quantity in parts for what in ("content", "residual")]
    of_all = [f"{what}_{quantity}" for _, quantity in parts for what in ("content", "residual")]
    return [*of_parts, *dict.fromkeys(of_all), *(f"crossed_{name}" for name in equations.exchanges)]


def _content(part, y: Values, given: Given) -> dict[str, Array]:
    if part.content is None:
        return {}
    return {quantity: jnp.asarray(value, float) for quantity, value in part.content(y, given.p).items()}


def _received(equations: Equations, name: str, quantity: str, z: Coupling) -> Array:
    """What has come into a part through its exchanges, less what has gone."""
    crossings = [
        exchange.sign(name) * jnp.sum(z["crossed"][each])
        for each, exchange in equations.exchanges.items()
        if exchange.quantity == quantity and name in exchange.parts
    ]
    return jnp.sum(jnp.stack([jnp.zeros(()), *crossings]))


@dataclass(frozen=True)
class SpuriousFlux:
    """What noisy measurements tell of a flux that nobody has declared.

    Args:
        estimate: a share of the flux that was suspected, or a rate where none was; with its standard error.
        lower, upper: interval at the confidence 1 - `level`.
        p_value: of there being none. level: below which it counts as detected, the rate of false alarms.
    """

    estimate: Array
    standard_error: Array
    lower: Array
    upper: Array
    p_value: Array
    level: float

    @property
    def detected(self) -> Array:
        return self.p_value < self.level

    def power(self, bias: Numbers) -> Array:
        """The probability with which a flux of this size is detected."""
        shift, limit = jnp.abs(bias) / self.standard_error, ndtri(1 - self.level / 2)
        return ndtr(shift - limit) + ndtr(-shift - limit)


def spurious_flux(
    times: Float[AnyArray, " times"],
    content: Float[AnyArray, "*batch times"],
    net_rate: Float[AnyArray, "*batch times"],
    *,
    content_sd: Numbers,
    rate_sd: Numbers,
    suspected: Float[AnyArray, "*batch times"] | None = None,
    level: float = 0.01,
) -> SpuriousFlux:
    """Whether contents and fluxes that were measured agree, by generalised least squares.

    What the content has gained beyond the integral of the measured rates is fitted by a constant share of the suspected
    flux, or by a constant rate. Errors of the rates add up in their integral, which the covariance of the fit knows.
    Integrals are those of the trapezoidal rule, so that times should be close where rates bend.

    Args:
        times: rising. content: measured at these, in a part or in all. net_rate: in - out + sources, measured.
        content_sd, rate_sd: standard deviations of their errors, independent and normal.
        suspected: the flux of which a share may be spurious, measured or known; its own errors are not counted.
        level: rate of false alarms.

    Raises:
        InputError: fewer than three times, times that do not rise, standard deviations or a level that cannot be.

    Example:
        >>> times = jnp.linspace(0.0, 10.0, 41)
        >>> found = spurious_flux(times, 1.02 * times, jnp.ones(41), content_sd=0.01, rate_sd=0.001)
        >>> round(float(found.estimate), 6), bool(found.detected)
        (0.02, True)
    """
    times = np.asarray(times, float)
    findings = [] if times.ndim == 1 and len(times) > 2 else [f"times of the shape {times.shape}; give three or more."]
    if np.any(np.diff(times) <= 0):
        findings.append("times do not rise.")
    sizes = (("content_sd", content_sd), ("rate_sd", rate_sd))
    negative = [(name, value) for name, value in sizes if np.any(np.asarray(value) < 0)]
    findings += [f"{name} is {value!r}; it must not be negative." for name, value in negative]
    if not np.all(np.asarray(content_sd) > 0):
        findings.append("content_sd must be positive: contents without errors need no test.")
    if not 0 < level < 1:
        findings.append(f"level is {level!r}; it must be between 0 and 1.")
    if findings:
        raise InputError("spurious_flux", findings)
    integral = _trapezoidal(times)
    covariance = np.diag(np.broadcast_to(np.square(content_sd), times.shape))
    covariance = covariance + integral @ np.diag(np.broadcast_to(np.square(rate_sd), times.shape)) @ integral.T
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    gained = (jnp.asarray(content) - jnp.asarray(net_rate) @ integral.T) @ whiten.T
    shape = jnp.ones_like(jnp.asarray(content)) if suspected is None else jnp.asarray(suspected)
    slope, constant = (shape @ integral.T) @ whiten.T, whiten @ np.ones(len(times))
    constant = constant / np.linalg.norm(constant)
    # what is left of the slope beside the unknown content at the start
    slope = slope - (slope @ constant)[..., None] * constant
    information = jnp.sum(jnp.square(slope), axis=-1)
    estimate, error = jnp.sum(slope * gained, axis=-1) / information, 1 / jnp.sqrt(information)
    width = ndtri(1 - level / 2) * error
    p_value = 2 * ndtr(-jnp.abs(estimate) / error)
    return SpuriousFlux(estimate, error, estimate - width, estimate + width, p_value, level)


def _trapezoidal(times: np.ndarray) -> np.ndarray:
    """The matrix that integrates rates at the times from the first time on."""
    gaps, count = np.diff(times), len(times)
    steps = np.zeros((count, count))
    rows = np.arange(1, count)
    steps[rows, rows - 1], steps[rows, rows] = gaps / 2, gaps / 2
    return np.cumsum(steps, axis=0)
