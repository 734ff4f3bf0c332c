"""What is where, and whether anything was made or lost on the way: the balance of every coupled run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from ..annotations import AnyArray, Numbers, Values
from ..balance import imbalance
from ..errors import InputError
from .equations import Coupling, Equations, Given
from .parts import Part


class Account(NamedTuple):
    """Of one quantity, in a part or in all: what there is, what came in, what sources made, what is missing.

    Args:
        received: through exchanges since the start, less what has gone. supplied: by declared sources.
        residual: change - received - supplied. size: the largest of the amounts that were added up for it.
    """

    content: Array
    received: Array
    supplied: Array
    residual: Array
    size: Array


# output of a run -> how it follows from an `Account`, by part and in all
OUTPUTS = {
    "content": lambda account: account.content,
    "supplied": lambda account: account.supplied,
    "residual": lambda account: account.residual,
    "imbalance": lambda account: imbalance(account.residual, account.size),
}


def accounts(equations: Equations, z: Coupling, start: Coupling, given: Given) -> dict[str, Array]:
    """Contents, what has crossed, and residuals of the balance since the start, by the names that `Coupled` says."""
    found: dict[str, Array] = {}
    totals: dict[str, list[Account]] = {}
    for name, part in equations.parts.items():
        contents, before = _content(part, z["states"][name], given), _content(part, start["states"][name], given)
        for quantity in part.units:
            made = z["supplied"].get(name, {}).get(quantity, jnp.zeros(()))
            account = _account(contents[quantity], before[quantity], _crossings(equations, name, quantity, z), made)
            found |= _outputs(f"{name}_{quantity}", account)
            totals.setdefault(quantity, []).append(account)
    for quantity, each in totals.items():
        found |= _outputs(quantity, _total(each))
    return found | {f"crossed_{name}": jnp.sum(amount) for name, amount in z["crossed"].items()}


def account_names(parts: Mapping[str, Part], exchanges: Iterable[str]) -> list[str]:
    """The names of what `accounts` gives."""
    by_part = [f"{name}_{quantity}" for name, part in parts.items() for quantity in part.units]
    in_all = dict.fromkeys(quantity for part in parts.values() for quantity in part.units)
    return [*(f"{what}_{of}" for of in (*by_part, *in_all) for what in OUTPUTS), *(f"crossed_{e}" for e in exchanges)]


def _outputs(of: str, account: Account) -> dict[str, Array]:
    return {f"{what}_{of}": value(account) for what, value in OUTPUTS.items()}


def _account(content, before, crossings: Array, made) -> Account:
    received = jnp.sum(crossings)
    size = jnp.max(jnp.abs(jnp.concatenate([jnp.stack([content, before, made]), crossings])))
    return Account(content, received, made, content - before - received - made, size)


def _total(accounts: Sequence[Account]) -> Account:
    """Of all parts, between which exchanges cancel."""
    content, received, supplied, residual, size = (sum(each, jnp.zeros(())) for each in zip(*accounts, strict=True))
    # what crosses is one number for both sides, so that its rounding is in the residual of all
    return Account(content, received, supplied, residual + received, size)


def _content(part, y: Values, given: Given) -> dict[str, Array]:
    if part.content is None:
        return {}
    return {quantity: jnp.asarray(value, float) for quantity, value in part.content(y, given.p).items()}


def _crossings(equations: Equations, name: str, quantity: str, z: Coupling) -> Array:
    """What has come into a part through each of its exchanges, less what has gone; a zero first."""
    crossings = [
        exchange.sign(name) * jnp.sum(z["crossed"][each])
        for each, exchange in equations.exchanges.items()
        if exchange.quantity == quantity and name in exchange.parts
    ]
    return jnp.stack([jnp.zeros(()), *crossings])


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
