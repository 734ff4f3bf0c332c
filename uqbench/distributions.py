"""The one grammar of uncertainty: a frozen family whose arguments are numbers or names.

A prior, a spread between cells and a measurement noise are the same object. `Normal(0, 1)` is complete by itself;
`LogNormal(median="C", sigma=0.2)` waits for somebody to say what "C" is: a parameter in a hierarchical prior, an output
in a noise model. Every method therefore takes `values`, a mapping from names to arrays, and broadcasts over them.

A family below is a handful of formulas of numbers. The base class does what all of them share: it checks the
construction, looks up names, broadcasts, and keeps the formulas away from places where they mean nothing. That last
point matters for gradients: a `where` around a formula that yields infinity still gives a NaN gradient, so a formula is
only ever evaluated at a harmless stand-in and its result replaced afterwards.

- Outside the support the log-density is -inf, with a gradient of zero.
- Arguments that are possible for no distribution (a negative scale that came from a name) give a log-density of -inf
  and NaN everywhere else.
- NaN in, NaN out.

Quantiles are the way from the unit cube to parameters, so they are differentiable in the arguments too. Where no closed
form exists, the distribution function F is inverted numerically and differentiated implicitly: from F(x; a) = u follows
dx = (du - dF/da da) / f(x).
"""

from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import special
from jax.typing import ArrayLike

from .errors import InputError, nearest

# Double-exponential rule on (0, 1) (Takahasi and Mori 1974, doi:10.2977/prims/1195192451): nodes crowd to both ends
# so fast that algebraic and logarithmic singularities there cost nothing. `_NODES[::-1]` is 1 - `_NODES`, exactly.
_STEP = 0.0625
_ABSCISSAE = np.arange(-96, 97) * _STEP
_NODES = 1 / (1 + np.exp(-np.pi * np.sinh(_ABSCISSAE)))
_WEIGHTS = _STEP * np.pi * np.cosh(_ABSCISSAE) * _NODES * _NODES[::-1]

# StudentT's information about nu is nu^-4 times this polynomial in 1 / nu, highest power first (from the asymptotic
# series of trigamma).
_STUDENT_TAIL = (59047 / 2, -9763.0, 6559 / 2, -1101.0, 727 / 2, -119.0, 79 / 2, -13.0, 7 / 2)

# Bernoulli numbers B(2k) / (2k (2k - 1)), highest k first: the coefficients of Stirling's series.
_STIRLING = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)


class Domain(NamedTuple):
    """What a single argument may be: a sentence, a test, and a number that passes the test."""

    sentence: str
    holds: Callable[[ArrayLike], ArrayLike]
    stand_in: float


_REAL = Domain("must be a finite number", lambda value: abs(value) < np.inf, 0.0)
_POSITIVE = Domain("must be positive and finite", lambda value: (value > 0) & (value < np.inf), 1.0)
_NON_NEGATIVE = Domain("must be zero or positive, and finite", lambda value: (value >= 0) & (value < np.inf), 1.0)
_PROBABILITY = Domain("must lie between 0 and 1", lambda value: (value >= 0) & (value <= 1), 0.5)
_COUNT = Domain(
    "must be a whole number, zero or more", lambda value: (value >= 0) & (value < np.inf) & (value % 1 == 0), 1.0
)
# Stand-ins of bounds are 1 and 2, which any family with bounds accepts, the logarithmic ones included.
_LOWER, _UPPER = _REAL._replace(stand_in=1.0), _REAL._replace(stand_in=2.0)
_POSITIVE_UPPER = _POSITIVE._replace(stand_in=2.0)
_LOWER_OR_NONE = Domain("must be a number or -inf", lambda value: value < np.inf, 1.0)
_UPPER_OR_NONE = Domain("must be a number or inf", lambda value: value > -np.inf, 2.0)


class Distribution:
    """A family with its arguments: immutable, hashable, equal to another with the same family and arguments.

    Arguments are given by position or by name, as in PyMC; each is a number or the name of a parameter or an output.

    Attributes:
        arguments: from argument name to a number or a name, in PyMC's order.
        names: the names among the arguments, in order.
        discrete: whether the values are counts.

    Raises:
        InputError: when the arguments cannot be used; it lists everything that is wrong.

    Example:
        >>> noise = LogNormal(median="C", sigma=0.2)
        >>> noise.names
        ('C',)
    """

    discrete: ClassVar[bool] = False
    parametrisations: ClassVar[tuple[tuple[str, ...], ...]]  # the first one is PyMC's, which the formulas use
    domains: ClassVar[dict[str, Domain]]
    defaults: ClassVar[dict[str, float]] = {}
    _includes_bounds: ClassVar[bool] = True  # False where the density at a bound is zero or infinite

    def __init__(self, *positional: float | str, **keyword: float | str):
        object.__setattr__(self, "_items", _checked_arguments(type(self), positional, keyword))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} cannot change: make a new {type(self).__name__}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self!r} cannot change: make a new {type(self).__name__}.")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._items == other._items

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._items))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in self._items)})"

    @property
    def arguments(self) -> dict[str, float | str]:
        return dict(self._items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(value for _, value in self._items if isinstance(value, str))

    def resolve(self, values: Mapping[str, ArrayLike] = {}) -> dict[str, Array]:
        """The arguments as arrays: numbers as they are, names looked up in `values`.

        Args:
            values: from name to array; names that this distribution does not use are ignored.

        Returns:
            From argument name to array, each with its own shape.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> resolved = Normal("C", 2).resolve({"C": 1.5})
            >>> {name: float(value) for name, value in resolved.items()}
            {'mu': 1.5, 'sigma': 2.0}
        """
        missing = [name for name in dict.fromkeys(self.names) if name not in values]
        if missing:
            raise InputError(repr(self), [f"no value for {name!r}: {nearest(name, list(values))}" for name in missing])
        looked_up = {name: values[value] if isinstance(value, str) else value for name, value in self._items}
        return {name: jnp.asarray(value, dtype=float) for name, value in looked_up.items()}

    def canonical(self, values: Mapping[str, ArrayLike] = {}) -> dict[str, Array]:
        """The arguments as arrays, in the parametrisation that PyMC takes first.

        Args:
            values: from name to array.

        Returns:
            From PyMC's argument name to array; `LogNormal(median=...)` comes back with `mu`, the logarithm.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> sorted(Gamma(mu=2, sigma=1).canonical())
            ['alpha', 'beta']
        """
        return dict(zip(self.parametrisations[0], self._to_primary(self.resolve(values)), strict=True))

    def logpdf(self, x: ArrayLike, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Logarithm of the density, or of the probability of a count.

        Args:
            x: where; any shape.
            values: from name to array, broadcasting with `x`.

        Returns:
            The common shape; -inf, with zero gradient, outside the support and for impossible arguments.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> round(float(Normal(0, 1).logpdf(0.0)), 6)
            -0.918939
        """
        (x,), safe, impossible = self._prepare(values, x)
        primary = self._to_primary(safe)
        lower, upper = self._support(*primary)
        inside = (x >= lower) & (x <= upper) if self._includes_bounds else (x > lower) & (x < upper)
        inside &= jnp.isfinite(x)
        if self.discrete:
            inside &= x == jnp.floor(x)
        within = jnp.where(inside, x, self._somewhere_inside(lower, upper))
        density = jnp.where(inside, self._logpdf(within, *primary), jnp.where(jnp.isnan(x), jnp.nan, -jnp.inf))
        no_density = jnp.where(jnp.isnan(impossible) | jnp.isnan(x), jnp.nan, -jnp.inf)
        return jnp.where(impossible == 0, density, no_density)

    def cdf(self, x: ArrayLike, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Probability of a value of at most `x`.

        Args:
            x: where; any shape, infinities included.
            values: from name to array, broadcasting with `x`.

        Returns:
            The common shape, between 0 and 1.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> float(Uniform(0, 4).cdf(1.0))
            0.25
        """
        (x,), safe, impossible = self._prepare(values, x)
        primary = self._to_primary(safe)
        lower, upper = self._support(*primary)
        # A count has a positive probability at its lower bound, a continuous value has none.
        below, above = (x < lower if self.discrete else x <= lower), x >= upper
        within = jnp.where(below | above | jnp.isnan(x), self._somewhere_inside(lower, upper), x)
        within = jnp.floor(within) if self.discrete else within
        probability = jnp.where(below, 0.0, jnp.where(above, 1.0, self._tails(within, *primary)[0]))
        return jnp.where((impossible == 0) & ~jnp.isnan(x), probability, jnp.nan)

    def ppf(self, u: ArrayLike, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Quantile: the inverse of the distribution function; for counts, the smallest with a probability >= `u`.

        Differentiable in `u` and in the arguments; for counts the gradient is zero, as it is almost everywhere.

        Args:
            u: probability; any shape. 0 and 1 give the bounds of the support.
            values: from name to array, broadcasting with `u`.

        Returns:
            The common shape; NaN where `u` is no probability.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> float(LogNormal(median=3, sigma=0.5).ppf(0.5))
            3.0
        """
        (u,), safe, impossible = self._prepare(values, u)
        primary = self._to_primary(safe)
        lower, upper = self._support(*primary)
        within = (u > 0) & (u < 1)
        quantile = self._quantile(jnp.where(within, u, 0.5), *primary)
        quantile = jnp.where(within, quantile, jnp.where(u == 0, lower, jnp.where(u == 1, upper, jnp.nan)))
        return jnp.where(impossible == 0, quantile, jnp.nan)

    def sample(self, key: Array, shape: tuple[int, ...] = (), values: Mapping[str, ArrayLike] = {}) -> Array:
        """Independent draws.

        They are quantiles of uniform numbers where the quantile has a closed form. Gamma, Beta, StudentT and the
        counts, whose quantiles are iterations, use JAX's generators, which are much faster. Continuous draws are
        differentiable in the arguments.

        Args:
            key: a JAX random key.
            shape: how many draws for each element of the arguments.
            values: from name to array.

        Returns:
            Shape `shape` followed by the common shape of the arguments.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> draws = Normal("m", 1).sample(jax.random.key(0), (100,), {"m": jnp.zeros(3)})
            >>> draws.shape
            (100, 3)
        """
        _, safe, impossible = self._prepare(values)
        full = (*shape, *impossible.shape)
        draws = self._draw(key, *(jnp.broadcast_to(value, full) for value in self._to_primary(safe)))
        return jnp.where(impossible == 0, draws, jnp.nan)

    def mean(self, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Expected value.

        Args:
            values: from name to array.

        Returns:
            The common shape of the arguments; NaN or inf where there is no finite one.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> float(Gamma(3, 2).mean())
            1.5
        """
        _, safe, impossible = self._prepare(values)
        return jnp.where(impossible == 0, self._mean(*self._to_primary(safe)), jnp.nan)

    def variance(self, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Expected squared distance from the mean.

        Args:
            values: from name to array.

        Returns:
            The common shape of the arguments; NaN or inf where there is no finite one.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> float(Poisson("rate").variance({"rate": 4.0}))
            4.0
        """
        _, safe, impossible = self._prepare(values)
        return jnp.where(impossible == 0, self._variance(*self._to_primary(safe)), jnp.nan)

    def support(self, values: Mapping[str, ArrayLike] = {}) -> tuple[Array, Array]:
        """The smallest and the largest possible value.

        Args:
            values: from name to array.

        Returns:
            Lower and upper bound, each in the common shape of the arguments; infinite where there is none.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> [float(bound) for bound in Exponential(2).support()]
            [0.0, inf]
        """
        _, safe, impossible = self._prepare(values)
        lower, upper = self._support(*self._to_primary(safe))
        return jnp.where(impossible == 0, lower, jnp.nan), jnp.where(impossible == 0, upper, jnp.nan)

    def fisher_information(self, values: Mapping[str, ArrayLike] = {}) -> Array:
        """What one observation tells about the arguments: the expected outer product of the score.

        NaN marks arguments that move the support (bounds of Uniform, LogUniform, TruncatedNormal): there the score
        has no zero mean and no Fisher information exists. The known `n` of a Binomial has a row of zeros. Select the
        rows that you need before multiplying: 0 times NaN is NaN.

        Args:
            values: from name to array.

        Returns:
            The common shape of the arguments, then (k, k) in the order of `arguments`, with respect to them as given.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> Normal(0, 2).fisher_information().tolist()
            [[0.25, 0.0], [0.0, 0.5]]
        """
        _, safe, impossible = self._prepare(values)
        information = self._information(*self._to_primary(safe))
        if tuple(safe) != self.parametrisations[0]:
            # I(natural) = J' I(primary) J with J the derivative of the primary arguments in the natural ones.
            jacobian = jnp.moveaxis(_elementwise_jacobian(self._to_primary, safe), 0, -2)
            information = jnp.einsum("...ci,...cd,...dj->...ij", jacobian, information, jacobian)
        return jnp.where((impossible == 0)[..., None, None], information, jnp.nan)

    def _prepare(self, values: Mapping, *others: ArrayLike) -> tuple[list[Array], dict[str, Array], Array]:
        """`others` and arguments of one shape; the arguments safe for any formula; 0 where they are the true ones.

        The third result is 1 where the arguments are impossible and NaN where one of them is NaN.
        """
        resolved = self.resolve(values)
        arrays = jnp.broadcast_arrays(*(jnp.asarray(other, dtype=float) for other in others), *resolved.values())
        arguments = dict(zip(resolved, arrays[len(others) :], strict=True))
        possible = jnp.ones(arrays[0].shape, dtype=bool)
        for name, value in arguments.items():
            possible &= self.domains[name].holds(value)
        if "lower" in arguments:
            possible &= arguments["lower"] < arguments["upper"]
        safe = {name: jnp.where(possible, value, self.domains[name].stand_in) for name, value in arguments.items()}
        unknown = jnp.isnan(jnp.stack(list(arguments.values()))).any(axis=0)
        impossible = jnp.where(unknown, jnp.nan, jnp.where(possible, 0.0, 1.0))
        return arrays[: len(others)], safe, impossible

    def _somewhere_inside(self, lower: Array, upper: Array) -> Array:
        """A point of the support where every formula is finite, whose own gradient is nobody's business."""
        if self.discrete:
            return jax.lax.stop_gradient(lower)
        beside = jnp.where(jnp.isfinite(lower), lower + 1, jnp.where(jnp.isfinite(upper), upper - 1, 0.0))
        both = jnp.isfinite(lower) & jnp.isfinite(upper)
        return jax.lax.stop_gradient(jnp.where(both, lower / 2 + upper / 2, beside))

    @classmethod
    def _quantile(cls, u: Array, *primary: Array) -> Array:
        if cls.discrete:
            return _smallest_count(cls, *jax.lax.stop_gradient((u, *primary)))
        return _inverse(cls, u, *primary)

    @classmethod
    def _draw(cls, key: Array, *primary: Array) -> Array:
        # The generator's grid has 2^52 points from 0 on; half a step keeps off both ends, where quantiles are infinite.
        u = jax.random.uniform(key, primary[0].shape, dtype=float)
        return cls._quantile(u + jnp.finfo(u.dtype).eps / 2, *primary)

    # The formulas of a family, all elementwise in its primary arguments.
    @staticmethod
    def _to_primary(arguments: dict[str, Array]) -> tuple[Array, ...]:
        return tuple(arguments.values())

    @staticmethod
    def _support(*primary: Array) -> tuple[ArrayLike, ArrayLike]:
        return jnp.full_like(primary[0], -jnp.inf), jnp.full_like(primary[0], jnp.inf)

    @staticmethod
    def _logpdf(x: Array, *primary: Array) -> Array:
        raise NotImplementedError

    @staticmethod
    def _tails(x: Array, *primary: Array) -> tuple[Array, Array]:
        """Probability of at most `x` and of more, each accurate where it is small."""
        raise NotImplementedError

    @staticmethod
    def _mean(*primary: Array) -> Array:
        raise NotImplementedError

    @staticmethod
    def _variance(*primary: Array) -> Array:
        raise NotImplementedError

    @staticmethod
    def _information(*primary: Array) -> Array:
        raise NotImplementedError


class _HalfLine(Distribution):
    """A family on the positive numbers."""

    @staticmethod
    def _support(*primary):
        return jnp.zeros_like(primary[0]), jnp.full_like(primary[0], jnp.inf)


class Normal(Distribution):
    """Normal(mu, sigma): mean `mu`, standard deviation `sigma`.

    Example:
        >>> Normal(0, "sigma")
        Normal(mu=0, sigma='sigma')
    """

    parametrisations = (("mu", "sigma"),)
    domains: ClassVar = {"mu": _REAL, "sigma": _POSITIVE}

    @staticmethod
    def _logpdf(x, mu, sigma):
        return -0.5 * ((x - mu) / sigma) ** 2 - jnp.log(sigma) - 0.5 * np.log(2 * np.pi)

    @staticmethod
    def _tails(x, mu, sigma):
        z = (x - mu) / sigma
        return special.ndtr(z), special.ndtr(-z)

    @staticmethod
    def _quantile(u, mu, sigma):
        return mu + sigma * special.ndtri(u)

    @staticmethod
    def _mean(mu, sigma):
        return mu

    @staticmethod
    def _variance(mu, sigma):
        return sigma**2

    @staticmethod
    def _information(mu, sigma):
        return _matrix([[sigma**-2, 0.0], [0.0, 2 * sigma**-2]])


class LogNormal(_HalfLine):
    """LogNormal(mu, sigma): the logarithm is Normal(mu, sigma). LogNormal(median=, sigma=): `mu` is log(median).

    With `median` the name of an output this is multiplicative noise around it.

    Example:
        >>> LogNormal(median="C", sigma="sigma")
        LogNormal(median='C', sigma='sigma')
    """

    parametrisations = (("mu", "sigma"), ("median", "sigma"))
    domains: ClassVar = {"mu": _REAL, "median": _POSITIVE, "sigma": _POSITIVE}
    _includes_bounds = False

    @staticmethod
    def _to_primary(arguments):
        mu = jnp.log(arguments["median"]) if "median" in arguments else arguments["mu"]
        return mu, arguments["sigma"]

    @staticmethod
    def _logpdf(x, mu, sigma):
        return Normal._logpdf(jnp.log(x), mu, sigma) - jnp.log(x)

    @staticmethod
    def _tails(x, mu, sigma):
        return Normal._tails(jnp.log(x), mu, sigma)

    @staticmethod
    def _quantile(u, mu, sigma):
        return jnp.exp(mu + sigma * special.ndtri(u))

    @staticmethod
    def _mean(mu, sigma):
        return jnp.exp(mu + sigma**2 / 2)

    @staticmethod
    def _variance(mu, sigma):
        return jnp.expm1(sigma**2) * jnp.exp(2 * mu + sigma**2)

    @staticmethod
    def _information(mu, sigma):
        return Normal._information(mu, sigma)


class Uniform(Distribution):
    """Uniform(lower, upper): constant density between two numbers. Its bounds have no Fisher information (NaN).

    Example:
        >>> float(Uniform(2, 4).variance())
        0.3333333333333333
    """

    parametrisations = (("lower", "upper"),)
    domains: ClassVar = {"lower": _LOWER, "upper": _UPPER}

    @staticmethod
    def _support(lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, lower, upper):
        return -jnp.log(upper - lower)

    @staticmethod
    def _tails(x, lower, upper):
        return (x - lower) / (upper - lower), (upper - x) / (upper - lower)

    @staticmethod
    def _quantile(u, lower, upper):
        return lower + u * (upper - lower)

    @staticmethod
    def _mean(lower, upper):
        return (lower + upper) / 2

    @staticmethod
    def _variance(lower, upper):
        return (upper - lower) ** 2 / 12

    @staticmethod
    def _information(lower, upper):
        return _matrix([[jnp.full_like(lower, jnp.nan)] * 2] * 2)


class LogUniform(Distribution):
    """LogUniform(lower, upper): the logarithm is uniform. Its bounds have no Fisher information (NaN).

    Example:
        >>> round(float(LogUniform(1, 100).ppf(0.5)), 12)
        10.0
    """

    parametrisations = (("lower", "upper"),)
    domains: ClassVar = {"lower": _POSITIVE, "upper": _POSITIVE_UPPER}

    @staticmethod
    def _support(lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, lower, upper):
        return -jnp.log(x) - jnp.log(jnp.log(upper / lower))

    @staticmethod
    def _tails(x, lower, upper):
        width = jnp.log(upper / lower)
        return jnp.log(x / lower) / width, jnp.log(upper / x) / width

    @staticmethod
    def _quantile(u, lower, upper):
        # Rounding of the exponential may leave the support by a unit in the last place.
        return jnp.clip(lower * jnp.exp(u * jnp.log(upper / lower)), lower, upper)

    @staticmethod
    def _mean(lower, upper):
        return (upper - lower) / jnp.log(upper / lower)

    @staticmethod
    def _variance(lower, upper):
        width, mean = jnp.log(upper / lower), LogUniform._mean(lower, upper)
        return (upper - lower) * (upper + lower) / (2 * width) - mean**2

    @staticmethod
    def _information(lower, upper):
        return Uniform._information(lower, upper)


class HalfNormal(_HalfLine):
    """HalfNormal(sigma): the absolute value of a Normal(0, sigma).

    Example:
        >>> round(float(HalfNormal(1).mean()), 6)
        0.797885
    """

    parametrisations = (("sigma",),)
    domains: ClassVar = {"sigma": _POSITIVE}

    @staticmethod
    def _logpdf(x, sigma):
        return 0.5 * np.log(2 / np.pi) - jnp.log(sigma) - 0.5 * (x / sigma) ** 2

    @staticmethod
    def _tails(x, sigma):
        z = x / (sigma * np.sqrt(2))
        return special.erf(z), special.erfc(z)

    @staticmethod
    def _quantile(u, sigma):
        return sigma * np.sqrt(2) * special.erfinv(u)

    @staticmethod
    def _mean(sigma):
        return sigma * np.sqrt(2 / np.pi)

    @staticmethod
    def _variance(sigma):
        return sigma**2 * (1 - 2 / np.pi)

    @staticmethod
    def _information(sigma):
        return _matrix([[2 * sigma**-2]])


class Cauchy(Distribution):
    """Cauchy(alpha, beta): median `alpha`, half of the interquartile range `beta`; it has no mean.

    Example:
        >>> float(Cauchy(1, 2).cdf(3.0))
        0.75
    """

    parametrisations = (("alpha", "beta"),)
    domains: ClassVar = {"alpha": _REAL, "beta": _POSITIVE}

    @staticmethod
    def _logpdf(x, alpha, beta):
        return -jnp.log(np.pi * beta) - jnp.log1p(((x - alpha) / beta) ** 2)

    @staticmethod
    def _tails(x, alpha, beta):
        # The angle to the point seen from one unit away: no cancellation in either tail.
        z = (x - alpha) / beta
        return jnp.arctan2(1.0, -z) / np.pi, jnp.arctan2(1.0, z) / np.pi

    @staticmethod
    def _quantile(u, alpha, beta):
        # The cotangent of the smaller tail, again without cancellation.
        return alpha + beta * jnp.where(u < 0.5, -1.0, 1.0) / jnp.tan(np.pi * jnp.minimum(u, 1 - u))

    @staticmethod
    def _mean(alpha, beta):
        return jnp.full_like(alpha, jnp.nan)

    @staticmethod
    def _variance(alpha, beta):
        return jnp.full_like(alpha, jnp.nan)

    @staticmethod
    def _information(alpha, beta):
        return _matrix([[0.5 * beta**-2, 0.0], [0.0, 0.5 * beta**-2]])


class HalfCauchy(_HalfLine):
    """HalfCauchy(beta): the absolute value of a Cauchy(0, beta), so `beta` is the median; its mean is infinite.

    Example:
        >>> round(float(HalfCauchy(3).ppf(0.5)), 12)
        3.0
    """

    parametrisations = (("beta",),)
    domains: ClassVar = {"beta": _POSITIVE}

    @staticmethod
    def _logpdf(x, beta):
        return jnp.log(2 / (np.pi * beta)) - jnp.log1p((x / beta) ** 2)

    @staticmethod
    def _tails(x, beta):
        return 2 / np.pi * jnp.arctan2(x, beta), 2 / np.pi * jnp.arctan2(beta, x)

    @staticmethod
    def _quantile(u, beta):
        return beta * jnp.tan(np.pi / 2 * u)

    @staticmethod
    def _mean(beta):
        return jnp.full_like(beta, jnp.inf)

    @staticmethod
    def _variance(beta):
        return jnp.full_like(beta, jnp.inf)

    @staticmethod
    def _information(beta):
        return _matrix([[0.5 * beta**-2]])


class Exponential(_HalfLine):
    """Exponential(lam): waiting time of a rate `lam`, so the mean is 1 / lam.

    Example:
        >>> float(Exponential(4).mean())
        0.25
    """

    parametrisations = (("lam",),)
    domains: ClassVar = {"lam": _POSITIVE}

    @staticmethod
    def _logpdf(x, lam):
        return jnp.log(lam) - lam * x

    @staticmethod
    def _tails(x, lam):
        return -jnp.expm1(-lam * x), jnp.exp(-lam * x)

    @staticmethod
    def _quantile(u, lam):
        return -jnp.log1p(-u) / lam

    @staticmethod
    def _mean(lam):
        return 1 / lam

    @staticmethod
    def _variance(lam):
        return lam**-2

    @staticmethod
    def _information(lam):
        return _matrix([[lam**-2]])


class Gamma(_HalfLine):
    """Gamma(alpha, beta): shape `alpha`, rate `beta`. Gamma(mu=, sigma=): by mean and standard deviation.

    Example:
        >>> [round(float(value), 12) for value in Gamma(mu=2, sigma=1).canonical().values()]
        [4.0, 2.0]
    """

    parametrisations = (("alpha", "beta"), ("mu", "sigma"))
    domains: ClassVar = {"alpha": _POSITIVE, "beta": _POSITIVE, "mu": _POSITIVE, "sigma": _POSITIVE}
    _includes_bounds = False

    @staticmethod
    def _to_primary(arguments):
        if "alpha" in arguments:
            return arguments["alpha"], arguments["beta"]
        mu, sigma = arguments["mu"], arguments["sigma"]
        return (mu / sigma) ** 2, mu / sigma**2

    @staticmethod
    def _logpdf(x, alpha, beta):
        return alpha * jnp.log(beta) + (alpha - 1) * jnp.log(x) - beta * x - special.gammaln(alpha)

    @staticmethod
    def _tails(x, alpha, beta):
        return special.gammainc(alpha, beta * x), special.gammaincc(alpha, beta * x)

    # Coordinate, and a first guess there, for the numerical quantile.
    _decode = staticmethod(jnp.exp)

    @staticmethod
    def _guess(u, alpha, beta):
        # A small shape has nearly F = (beta x)^alpha / Gamma(1 + alpha); a large one is nearly normal in the cube root
        # (Wilson and Hilferty 1931, doi:10.1073/pnas.17.12.684).
        root = 1 - 1 / (9 * alpha) + special.ndtri(u) / (3 * jnp.sqrt(alpha))
        power = (jnp.log(u) + special.gammaln(1 + alpha)) / alpha
        cube = jnp.log(alpha) + 3 * jnp.log(jnp.maximum(root, 1e-3))
        return jnp.where(root > 0.1, cube, power) - jnp.log(beta)

    @staticmethod
    def _draw(key, alpha, beta):
        return jnp.exp(jax.random.loggamma(key, alpha) - jnp.log(beta))

    @staticmethod
    def _mean(alpha, beta):
        return alpha / beta

    @staticmethod
    def _variance(alpha, beta):
        return alpha / beta**2

    @staticmethod
    def _information(alpha, beta):
        return _matrix([[_trigamma(alpha), -1 / beta], [-1 / beta, alpha / beta**2]])


class Beta(Distribution):
    """Beta(alpha, beta): a proportion, with mean alpha / (alpha + beta).

    Example:
        >>> float(Beta(1, 3).mean())
        0.25
    """

    parametrisations = (("alpha", "beta"),)
    domains: ClassVar = {"alpha": _POSITIVE, "beta": _POSITIVE}
    _includes_bounds = False
    _decode = staticmethod(special.expit)

    @staticmethod
    def _support(alpha, beta):
        return jnp.zeros_like(alpha), jnp.ones_like(alpha)

    @staticmethod
    def _logpdf(x, alpha, beta):
        return (alpha - 1) * jnp.log(x) + (beta - 1) * jnp.log1p(-x) - _log_beta(alpha, beta)

    @staticmethod
    def _tails(x, alpha, beta):
        return _beta_tails(alpha, beta, x, 1 - x)

    @staticmethod
    def _guess(u, alpha, beta):
        return jnp.log(alpha / beta)

    @staticmethod
    def _draw(key, alpha, beta):
        # The share of one of two Gammas; their logarithms keep tiny shapes from underflowing to 0 / 0.
        for_one, for_other = jax.random.split(key)
        return special.expit(jax.random.loggamma(for_one, alpha) - jax.random.loggamma(for_other, beta))

    @staticmethod
    def _mean(alpha, beta):
        return alpha / (alpha + beta)

    @staticmethod
    def _variance(alpha, beta):
        total = alpha + beta
        return alpha / total * beta / total / (total + 1)

    @staticmethod
    def _information(alpha, beta):
        shared = -_trigamma(alpha + beta)
        return _matrix([[_trigamma(alpha) + shared, shared], [shared, _trigamma(beta) + shared]])


class StudentT(Distribution):
    """StudentT(nu, mu, sigma): `nu` degrees of freedom around `mu` with scale `sigma`.

    Fisher information: Lange, Little and Taylor 1989, doi:10.1080/01621459.1989.10478852. That of `nu` itself decays as
    nu^-4 by cancellation between terms of order 1 / nu, so from nu = 60 on its expansion in 1 / nu is used.

    Example:
        >>> float(StudentT(4, 1, 3).variance())
        18.0
    """

    parametrisations = (("nu", "mu", "sigma"),)
    domains: ClassVar = {"nu": _POSITIVE, "mu": _REAL, "sigma": _POSITIVE}
    _decode = staticmethod(jnp.sinh)

    @staticmethod
    def _logpdf(x, nu, mu, sigma):
        z = (x - mu) / sigma
        scale = _log_beta(0.5, nu / 2) + 0.5 * jnp.log(nu) + jnp.log(sigma)
        return -(nu + 1) / 2 * jnp.log1p(z**2 / nu) - scale

    @staticmethod
    def _tails(x, nu, mu, sigma):
        # Around the centre half of the beta integral in z^2 / (nu + z^2) is what F differs by from 1/2, and it can be
        # subtracted; further out its complement is the tail. Powers of z below 1e-150 underflow, and the centre is a
        # branch point in z^2, though not of F: the linear term there restores the value and the gradient.
        z = (x - mu) / sigma
        tiny = jnp.abs(z) < 1e-150
        square = jnp.where(tiny, 1.0, z) ** 2
        central, half = square < 4, jnp.full_like(nu, 0.5)
        near, far = jnp.where(central, half, nu / 2), jnp.where(central, nu / 2, half)
        share = jnp.where(central, square, nu) / (nu + square)
        part = 0.5 * _incomplete_beta(near, far, share)
        tail = jnp.where(central, 0.5 - part, part)
        slope = jnp.exp(-_log_beta(0.5, nu / 2) - 0.5 * jnp.log(nu))
        lower = jnp.where(tiny, 0.5 + z * slope, jnp.where(z < 0, tail, 1 - tail))
        upper = jnp.where(tiny, 0.5 - z * slope, jnp.where(z < 0, 1 - tail, tail))
        return lower, upper

    @staticmethod
    def _guess(u, nu, mu, sigma):
        return jnp.arcsinh(mu + sigma * special.ndtri(u))

    @staticmethod
    def _draw(key, nu, mu, sigma):
        # A normal number over the root of an independent mean square: a Gamma of shape and rate nu / 2.
        for_normal, for_spread = jax.random.split(key)
        log_square = jax.random.loggamma(for_spread, nu / 2) - jnp.log(nu / 2)
        return mu + sigma * jax.random.normal(for_normal, nu.shape, dtype=nu.dtype) * jnp.exp(-0.5 * log_square)

    @staticmethod
    def _mean(nu, mu, sigma):
        return jnp.where(nu > 1, mu, jnp.nan)

    @staticmethod
    def _variance(nu, mu, sigma):
        finite = sigma**2 * nu / jnp.where(nu > 2, nu - 2, 1.0)
        return jnp.where(nu > 2, finite, jnp.where(nu > 1, jnp.inf, jnp.nan))

    @staticmethod
    def _information(nu, mu, sigma):
        few = jnp.minimum(nu, 60.0)
        digammas = _trigamma(few / 2) - _trigamma((few + 1) / 2)
        exact = digammas / 4 - (few + 5) / (2 * few * (few + 1) * (few + 3))
        many = 1 / jnp.maximum(nu, 60.0)
        expanded = many**4 * jnp.polyval(jnp.array(_STUDENT_TAIL), many)
        shape = jnp.where(nu < 60, exact, expanded)
        cross = -2 / (sigma * (nu + 1) * (nu + 3))
        location, scale = ((nu + 1) / ((nu + 3) * sigma**2), 2 * nu / ((nu + 3) * sigma**2))
        return _matrix([[shape, 0.0, cross], [0.0, location, 0.0], [cross, 0.0, scale]])


class TruncatedNormal(Distribution):
    """TruncatedNormal(mu, sigma, lower=-inf, upper=inf): a Normal(mu, sigma) known to lie between two bounds.

    `mu` and `sigma` are those of the Normal before truncation. The quantile is in closed form and holds while a bound
    lies within 37 sigma of `mu`. The bounds have no Fisher information (NaN); that of `mu` and `sigma` is by
    quadrature.

    Example:
        >>> TruncatedNormal("mu", 1, lower=0)
        TruncatedNormal(mu='mu', sigma=1, lower=0, upper=inf)
    """

    parametrisations = (("mu", "sigma", "lower", "upper"),)
    domains: ClassVar = {"mu": _REAL, "sigma": _POSITIVE, "lower": _LOWER_OR_NONE, "upper": _UPPER_OR_NONE}
    defaults: ClassVar = {"lower": -np.inf, "upper": np.inf}

    @staticmethod
    def _support(mu, sigma, lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, mu, sigma, lower, upper):
        return Normal._logpdf(x, mu, sigma) - _log_normal_mass(*_standard_bounds(mu, sigma, lower, upper))

    @staticmethod
    def _tails(x, mu, sigma, lower, upper):
        z, (a, b) = (x - mu) / sigma, _standard_bounds(mu, sigma, lower, upper)
        mass = _log_normal_mass(a, b)
        return jnp.exp(_log_normal_mass(a, z) - mass), jnp.exp(_log_normal_mass(z, b) - mass)

    @staticmethod
    def _quantile(u, mu, sigma, lower, upper):
        # Interpolate the probabilities of the bounds in both tails, and invert the smaller of the two.
        a, b = (jnp.clip(bound, -39, 39) for bound in _standard_bounds(mu, sigma, lower, upper))
        below = (1 - u) * special.ndtr(a) + u * special.ndtr(b)
        above = (1 - u) * special.ndtr(-a) + u * special.ndtr(-b)
        tail = special.ndtri(jnp.minimum(below, above))
        return jnp.clip(mu + sigma * jnp.where(below < above, tail, -tail), lower, upper)

    @staticmethod
    def _mean(mu, sigma, lower, upper):
        return mu + sigma * _truncated_moments(mu, sigma, lower, upper)[0]

    @staticmethod
    def _variance(mu, sigma, lower, upper):
        first, second = _truncated_moments(mu, sigma, lower, upper)
        return sigma**2 * (second - first**2)

    @staticmethod
    def _information(mu, sigma, lower, upper):
        u = jnp.asarray(_NODES[(_NODES > 1e-16) & (_NODES < 1 - 1e-16)])
        weights = jnp.asarray(_WEIGHTS[(_NODES > 1e-16) & (_NODES < 1 - 1e-16)])
        inner = tuple(jnp.broadcast_to(value[..., None], (*value.shape, u.size)) for value in (mu, sigma, lower, upper))
        x = TruncatedNormal._quantile(u, *inner)

        def log_density(free):
            return (TruncatedNormal._logpdf(x, free["mu"], free["sigma"], inner[2], inner[3]),)

        score = _elementwise_jacobian(log_density, {"mu": inner[0], "sigma": inner[1]})[0]
        block = jnp.einsum("...qi,...qj,q->...ij", score, score, weights)
        information = jnp.full((*mu.shape, 4, 4), jnp.nan)
        return information.at[..., :2, :2].set(block)


class Poisson(_HalfLine):
    """Poisson(mu): a count of independent events, `mu` expected; `mu` = 0 allows nothing but zero.

    Example:
        >>> float(Poisson(3).ppf(0.5))
        3.0
    """

    discrete = True
    parametrisations = (("mu",),)
    domains: ClassVar = {"mu": _NON_NEGATIVE}

    @staticmethod
    def _support(mu):
        return jnp.zeros_like(mu), jnp.where(mu > 0, jnp.inf, 0.0)

    @staticmethod
    def _logpdf(x, mu):
        return _times_log(x, mu) - mu - special.gammaln(x + 1)

    @staticmethod
    def _tails(x, mu):
        some = jnp.where(mu > 0, mu, 1.0)
        return special.gammaincc(x + 1, some), special.gammainc(x + 1, some)

    @staticmethod
    def _draw(key, mu):
        return jax.random.poisson(key, mu).astype(mu.dtype)

    @staticmethod
    def _mean(mu):
        return mu

    @staticmethod
    def _variance(mu):
        return mu

    @staticmethod
    def _information(mu):
        return _matrix([[1 / mu]])


class NegativeBinomial(_HalfLine):
    """NegativeBinomial(mu, alpha): a count with mean `mu` and variance mu + mu^2 / alpha; Poisson for a large `alpha`.

    Fisher information: `mu` and `alpha` are orthogonal; that of `alpha` is trigamma(alpha) - E[trigamma(alpha + K)]
    - mu / (alpha (alpha + mu)) (Lawless 1987, doi:10.2307/3314912). Written with the integral of trigamma, the
    expectation is the generating function of the counts, so one quadrature replaces a sum over all of them.

    Example:
        >>> float(NegativeBinomial(10, 5).variance())
        30.0
    """

    discrete = True
    parametrisations = (("mu", "alpha"),)
    domains: ClassVar = {"mu": _NON_NEGATIVE, "alpha": _POSITIVE}

    @staticmethod
    def _support(mu, alpha):
        return Poisson._support(mu)

    @staticmethod
    def _logpdf(x, mu, alpha):
        ways = -_log_beta(alpha, x + 1) - jnp.log(alpha + x)
        return ways - alpha * jnp.log1p(mu / alpha) + _times_log(x, mu / (alpha + mu))

    @staticmethod
    def _tails(x, mu, alpha):
        some = jnp.where(mu > 0, mu, 1.0)
        return _beta_tails(alpha, x + 1, alpha / (alpha + some), some / (alpha + some))

    @staticmethod
    def _draw(key, mu, alpha):
        # A Poisson whose rate is itself a Gamma of mean mu and shape alpha.
        for_rate, for_count = jax.random.split(key)
        return Poisson._draw(for_count, Gamma._draw(for_rate, alpha, alpha) * mu)

    @staticmethod
    def _mean(mu, alpha):
        return mu

    @staticmethod
    def _variance(mu, alpha):
        return mu + mu**2 / alpha

    @staticmethod
    def _information(mu, alpha):
        # trigamma(a) = integral over t > 0 of t e^(-a t) / (1 - e^-t), here with t = v / alpha, v = -log(node).
        v = jnp.asarray(-np.log(_NODES))
        t = v / alpha[..., None]
        missing = -jnp.expm1(-t)
        none = -jnp.expm1(-alpha[..., None] * jnp.log1p(mu[..., None] / alpha[..., None] * missing))
        kernel = jnp.where(t > 0, t / jnp.where(t > 0, missing, 1.0), 1.0)
        integral = jnp.sum(jnp.asarray(_WEIGHTS) * kernel * none, axis=-1) / alpha
        return _matrix([[1 / (mu + mu**2 / alpha), 0.0], [0.0, integral - mu / (alpha * (alpha + mu))]])


class Binomial(Distribution):
    """Binomial(n, p): successes in `n` trials of probability `p`. `n` is known: its Fisher information is zero.

    Example:
        >>> float(Binomial(10, 0.2).mean())
        2.0
    """

    discrete = True
    parametrisations = (("n", "p"),)
    domains: ClassVar = {"n": _COUNT, "p": _PROBABILITY}

    @staticmethod
    def _support(n, p):
        return jnp.where(p == 1, n, 0.0), jnp.where(p == 0, 0.0, n)

    @staticmethod
    def _logpdf(x, n, p):
        ways = -jnp.log1p(n) - _log_beta(n - x + 1, x + 1)
        return ways + _times_log(x, p) + _times_log(n - x, 1 - p)

    @staticmethod
    def _tails(x, n, p):
        # At least one failure is left wherever the caller uses the result.
        some, failures = jnp.where((p > 0) & (p < 1), p, 0.5), jnp.maximum(n - x, 1.0)
        return _beta_tails(failures, x + 1, 1 - some, some)

    @staticmethod
    def _draw(key, n, p):
        return jax.random.binomial(key, n, p)

    @staticmethod
    def _mean(n, p):
        return n * p

    @staticmethod
    def _variance(n, p):
        return n * p * (1 - p)

    @staticmethod
    def _information(n, p):
        return _matrix([[0.0, 0.0], [0.0, n / (p * (1 - p))]])


# Construction -------------------------------------------------------------------------------------------------------


def _shown(value: float | str) -> str:
    return repr(value).removesuffix(".0")


def _checked_arguments(family: type[Distribution], positional: tuple, keyword: dict) -> tuple:
    """The arguments of `family` as (name, number or name) pairs in order, or every finding at once."""
    first, findings = family.parametrisations[0], []
    if len(positional) > len(first):
        findings.append(f"{len(positional)} arguments were given by position; allowed: {', '.join(first)}")
    given = dict(zip(first, positional, strict=False))
    for name, value in keyword.items():
        if name not in family.domains:
            findings.append(f"{name!r} is no argument; {nearest(name, list(family.domains))}")
        elif name in given:
            findings.append(f"{name!r} was given twice, by position and by name")
        else:
            given[name] = value
    choices = " or ".join(f"({', '.join(names)})" for names in family.parametrisations)
    fitting = [names for names in family.parametrisations if set(given) <= set(names)]
    # Of several that fit, the one that needs the least.
    fitting.sort(key=lambda names: len(set(names) - set(given)))
    if not fitting:
        findings.append(f"{', '.join(given)} cannot be given together; give {choices}")
    elif missing := [name for name in fitting[0] if name not in given and name not in family.defaults]:
        findings.append(f"{', '.join(map(repr, missing))} is missing; give {choices}")
    findings += [finding for name, value in given.items() for finding in _value_findings(family, name, value)]
    given = family.defaults | given
    if _is_number(given.get("lower")) and _is_number(given.get("upper")) and given["lower"] >= given["upper"]:
        findings.append(f"lower={given['lower']} must be less than upper={given['upper']}")
    if findings:
        shown = ", ".join([*map(repr, positional), *(f"{name}={value!r}" for name, value in keyword.items())])
        raise InputError(f"{family.__name__}({shown})", findings)
    return tuple((name, given[name] if isinstance(given[name], str) else float(given[name])) for name in fitting[0])


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _value_findings(family: type[Distribution], name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [] if value else [f"{name} is an empty name; give the name of a parameter or an output, or a number"]
    if not _is_number(value):
        return [f"{name} is a {type(value).__name__}; give a number, or the name of a parameter or an output"]
    return [] if family.domains[name].holds(float(value)) else [f"{name}={value} {family.domains[name].sentence}"]


# Inverting a distribution function ----------------------------------------------------------------------------------


@partial(jax.jit, static_argnums=0)
def _inverse(family: type[Distribution], u: Array, *primary: Array) -> Array:
    return _differentiable_inverse(family, u, *primary)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _differentiable_inverse(family: type[Distribution], u: Array, *primary: Array) -> Array:
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


@_differentiable_inverse.defjvp
def _inverse_jvp(family, primals, tangents):
    u, *primary = primals
    x = _differentiable_inverse(family, u, *primary)
    _, moved = jax.jvp(lambda *arguments: family._tails(x, *arguments)[0], tuple(primary), tuple(tangents[1:]))
    density = jnp.exp(family._logpdf(x, *primary))
    usable = (density > 0) & (density < jnp.inf)
    return x, jnp.where(usable, (tangents[0] - moved) / jnp.where(usable, density, 1.0), 0.0)


@partial(jax.jit, static_argnums=0)
def _smallest_count(family: type[Distribution], u: Array, *primary: Array) -> Array:
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


# Special functions --------------------------------------------------------------------------------------------------


def _beta_tails(a: Array, b: Array, x: Array, rest: Array) -> tuple[Array, Array]:
    """Regularised incomplete beta function at `x`, and its complement; `rest` is 1 - x. The thinner one is computed."""
    right = x > a / (a + b)
    thin = _incomplete_beta(jnp.where(right, b, a), jnp.where(right, a, b), jnp.where(right, rest, x))
    return jnp.where(right, 1 - thin, thin), jnp.where(right, thin, 1 - thin)


@jax.custom_jvp
def _incomplete_beta(a: Array, b: Array, x: Array) -> Array:
    """Regularised incomplete beta function, with the derivatives in `a` and `b` that JAX leaves out."""
    return special.betainc(a, b, x)


@_incomplete_beta.defjvp
def _incomplete_beta_jvp(primals, tangents):
    a, b, x = primals
    da, db, dx = tangents
    x_inside = jnp.clip(x, jnp.finfo(x.dtype).tiny, 1 - jnp.finfo(x.dtype).epsneg)
    along_x = jnp.exp((a - 1) * jnp.log(x_inside) + (b - 1) * jnp.log1p(-x_inside) - _log_beta(a, b))
    along_x = jnp.where((x > 0) & (x < 1), along_x, 0.0)
    along_a, along_b = _incomplete_beta_slopes(a, b, x_inside)
    return _incomplete_beta(a, b, x), along_a * da + along_b * db + along_x * dx


def _incomplete_beta_slopes(a: Array, b: Array, x: Array) -> tuple[Array, Array]:
    """Derivatives in `a` and `b`: the density times its score, integrated over the side of `x` without the mode.

    The score integrates to zero over (0, 1), so either side will do; on the side without the mode the integrand falls
    off from `x` on, where the double-exponential rule has its nodes.
    """
    right = x > a / (a + b)
    near, far = jnp.where(right, b, a)[..., None], jnp.where(right, a, b)[..., None]
    width = jnp.where(right, 1 - x, x)[..., None]
    nodes, weights = jnp.asarray(_NODES), jnp.asarray(_WEIGHTS)
    log_t = jnp.log(width) + np.log(_NODES)
    log_rest = jnp.log((1 - width) + width * nodes[::-1])
    mass = weights * width * jnp.exp((near - 1) * log_t + (far - 1) * log_rest - _log_beta(near, far))
    mean = special.digamma(near + far)
    near_slope = jnp.sum(mass * (log_t - special.digamma(near) + mean), axis=-1)
    far_slope = jnp.sum(mass * (log_rest - special.digamma(far) + mean), axis=-1)
    return jnp.where(right, -far_slope, near_slope), jnp.where(right, -near_slope, far_slope)


def _log_beta(a: ArrayLike, b: ArrayLike) -> Array:
    """Logarithm of the beta function to rounding, also where its arguments are large and differ much.

    Beyond 10, Stirling's formula is subtracted out of every log-gamma in closed form, so that nothing large cancels.
    (`jax.scipy.special.betaln` was off by 7e-7 at (2, 10) when this was written, jax 0.12.)
    """
    small, large = jnp.minimum(a, b), jnp.maximum(a, b)
    total = small + large
    both_small = special.gammaln(small) + special.gammaln(large) - special.gammaln(total)
    one_large = special.gammaln(small) + small - (large - 0.5) * jnp.log1p(small / large) - small * jnp.log(total)
    corrections = _stirling_remainder(large) - _stirling_remainder(total)
    both_large = (small - 0.5) * jnp.log(small / total) - large * jnp.log1p(small / large)
    both_large += 0.5 * jnp.log(2 * np.pi / large) + _stirling_remainder(small)
    with_stirling = jnp.where(small < 10, one_large, both_large) + corrections
    return jnp.where(large < 10, both_small, with_stirling)


def _stirling_remainder(x: Array) -> Array:
    """Log-gamma minus Stirling's formula for x >= 10 (Abramowitz and Stegun 1964, 6.1.41)."""
    inverse = 1 / jnp.maximum(x, 10.0)
    return inverse * jnp.polyval(jnp.array(_STIRLING), inverse**2)


def _trigamma(x: Array) -> Array:
    return special.polygamma(1, x)


def _times_log(x: Array, y: Array) -> Array:
    """x log(y) with 0 log(0) = 0 and a finite gradient there."""
    return jnp.where(x == 0, 0.0, x * jnp.log(jnp.where(x == 0, 1.0, y)))


def _standard_bounds(mu: Array, sigma: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Bounds in units of sigma from mu, with an infinite one put so far out that nothing is left beyond it."""

    def standard(bound):
        infinite = jnp.isinf(bound)
        distance = (jnp.where(infinite, 0.0, bound) - mu) / sigma
        return jnp.clip(jnp.where(infinite, jnp.sign(bound) * 1e8, distance), -1e8, 1e8)

    return standard(lower), standard(upper)


def _log_normal_mass(a: Array, b: Array) -> Array:
    """Log-probability that a standard normal lies between a < b, in whichever tail is thinner."""
    right = a + b > 0
    low, high = jnp.where(right, -b, a), jnp.where(right, -a, b)
    log_high = special.log_ndtr(high, series_order=10)
    return log_high + jnp.log1p(-jnp.exp(special.log_ndtr(low, series_order=10) - log_high))


def _truncated_moments(mu: Array, sigma: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """First and second moment of a standard normal between bounds (Johnson, Kotz and Balakrishnan 1994, ch. 13)."""
    a, b = _standard_bounds(mu, sigma, lower, upper)
    mass = _log_normal_mass(a, b)
    at_a, at_b = (jnp.exp(Normal._logpdf(bound, 0.0, 1.0) - mass) for bound in (a, b))
    return at_a - at_b, 1 + a * at_a - b * at_b


# Matrices -----------------------------------------------------------------------------------------------------------


def _matrix(rows: list[list[ArrayLike]]) -> Array:
    """Stack elementwise entries into (..., k, k)."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(entry, dtype=float) for row in rows for entry in row))
    return jnp.stack(entries, axis=-1).reshape(*entries[0].shape, len(rows), len(rows))


def _elementwise_jacobian(function: Callable, arguments: dict[str, Array]) -> Array:
    """Derivatives of elementwise functions: (function, ..., argument), one forward pass for each argument."""
    names = tuple(arguments)

    def of_values(*values):
        return function(dict(zip(names, values, strict=True)))

    columns = []
    for moving in names:
        directions = tuple(jnp.full_like(arguments[name], float(name == moving)) for name in names)
        columns.append(jnp.stack(jax.jvp(of_values, tuple(arguments.values()), directions)[1]))
    return jnp.stack(columns, axis=-1)
