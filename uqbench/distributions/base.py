"""What every family shares: names are looked up, arrays broadcast, and formulas kept from where they mean nothing.

A family is a handful of formulas of numbers. The base class does the rest, and its last duty matters for gradients: a
`where` around a formula that yields infinity still gives a NaN gradient, so a formula is only ever evaluated at a
harmless stand-in and its result replaced afterwards.

- Outside the support the log-density is -inf, with a gradient of zero.
- Arguments that are possible for no distribution (a negative scale that came from a name) give a log-density of -inf
  and NaN everywhere else. Values that come with an error, as those of a numerical solve do, are first put where they
  are possible, see `Distribution.moved_inside`.
- NaN in, NaN out.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..errors import InputError, nearest
from .arguments import Domain, checked_arguments
from .expressions import expression_of
from .inversion import inverse, smallest_count
from .matrices import elementwise_jacobian


@partial(jax.jit, static_argnums=0)
def _compiled(formula: Callable[..., Array], *arrays: Array) -> Array:
    """A formula as one compiled function: its operations would each be compiled apart, and traced at every use."""
    return formula(*arrays)


class Distribution:
    """A family with its arguments: immutable, hashable, equal to another with the same family and arguments.

    Arguments are given by position or by name, as in PyMC; each is a number or the name of a parameter or an output.

    Attributes:
        arguments: from argument name to a number or a name, in PyMC's order.
        names: the names among the arguments, in order.
        discrete: whether the values are counts.
        of_draws: whether it is a noise alone, of outputs whose own distribution the system gives: it disturbs draws
            from that, where other noise is a distribution around one value.
        ends: the arguments at which the possible values end.

    Raises:
        InputError: when the arguments cannot be used; it lists everything that is wrong.

    Example:
        >>> from uqbench import LogNormal
        >>> noise = LogNormal(median="C", sigma=0.2)
        >>> noise.names
        ('C',)
    """

    discrete: ClassVar[bool] = False
    of_draws: ClassVar[bool] = False
    ends: ClassVar[tuple[str, ...]] = ()
    parametrisations: ClassVar[tuple[tuple[str, ...], ...]]  # the first one is PyMC's, which the formulas use
    domains: ClassVar[dict[str, Domain]]
    defaults: ClassVar[dict[str, float]] = {}
    _includes_bounds: ClassVar[bool] = True  # False where the density at a bound is zero or infinite

    def __init__(self, *positional: float | str, **keyword: float | str):
        object.__setattr__(self, "_items", checked_arguments(type(self), positional, keyword))

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
        """The arguments as arrays: numbers as they are, names looked up in `values`, formulas computed from these.

        Args:
            values: from name to array; names that this distribution does not use are ignored.

        Returns:
            From argument name to array, each with its own shape.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> from uqbench import Normal
            >>> resolved = Normal("C", 2).resolve({"C": 1.5})
            >>> {name: float(value) for name, value in resolved.items()}
            {'mu': 1.5, 'sigma': 2.0}
        """
        # a formula may have been computed already, under its own text
        formulas = {name: expression_of(name) for name in self.names if name not in values}
        needed = [other for name, formula in formulas.items() for other in (formula.names if formula else (name,))]
        missing = [name for name in dict.fromkeys(needed) if name not in values]
        if missing:
            raise InputError(repr(self), [f"no value for {name!r}: {nearest(name, list(values))}" for name in missing])
        known = {**values, **{name: formula(values) for name, formula in formulas.items() if formula}}
        looked_up = {name: known[value] if isinstance(value, str) else value for name, value in self._items}
        return {name: jnp.asarray(value, dtype=float) for name, value in looked_up.items()}

    def moved_inside(self, values: Mapping[str, ArrayLike], errors: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
        """`values` in which those outside the domain of an argument, by no more than their error, are at its edge.

        The edge of a domain that excludes it (zero, of a scale) is the error itself: nothing smaller can be told apart
        from zero. A bound counts as the edge of the other one. What lies further outside is left as it is.

        Args:
            values: from name to array.
            errors: from name to by how much its values may be wrong, broadcasting with them; names without an entry
                are exact.

        Returns:
            the same names; values that were moved have a derivative of zero.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> from uqbench import Poisson
            >>> float(Poisson("I").moved_inside({"I": -1e-10}, {"I": 1e-6})["I"])
            0.0
        """
        found, arguments = dict(values), self.arguments
        self.resolve(found)
        for argument, name in arguments.items():
            if name in errors:
                found[name] = self.domains[argument].nearest(found[name], errors[name])
        if "lower" in arguments:
            lower, upper = (self.resolve(found)[bound] for bound in ("lower", "upper"))
            # One of the two is moved; where both have errors the other one stays.
            if (name := arguments["upper"]) in errors:
                found[name] = _apart(upper, lower, jnp.asarray(errors[name], float), 1.0)
            elif (name := arguments["lower"]) in errors:
                found[name] = _apart(lower, upper, jnp.asarray(errors[name], float), -1.0)
        return found

    def canonical(self, values: Mapping[str, ArrayLike] = {}) -> dict[str, Array]:
        """The arguments as arrays, in the parametrisation that PyMC takes first.

        Args:
            values: from name to array.

        Returns:
            From PyMC's argument name to array; `LogNormal(median=...)` comes back with `mu`, the logarithm.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> from uqbench import Gamma
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
            >>> from uqbench import Normal
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
            >>> from uqbench import Uniform
            >>> float(Uniform(0, 4).cdf(1.0))
            0.25
        """
        (x,), safe, impossible = self._prepare(values, x)
        primary = self._to_primary(safe)
        below, above, within = self._placed(x, primary)
        probability = jnp.where(below, 0.0, jnp.where(above, 1.0, self._tails(within, *primary)[0]))
        return jnp.where((impossible == 0) & ~jnp.isnan(x), probability, jnp.nan)

    def logcdf(self, x: ArrayLike, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Logarithm of the probability of a value of at most `x`: what is known of one that is only bounded above.

        Args:
            x: where; any shape, infinities included.
            values: from name to array, broadcasting with `x`.

        Returns:
            The common shape; -inf, with zero gradient, where there is nothing below `x` or less than can be told from
            zero, and for impossible arguments.

        Raises:
            InputError: when names are missing from `values`.

        Example:
            >>> from uqbench import Normal
            >>> round(float(Normal(0, 1).logcdf(-40.0)), 6)
            -804.608442
        """
        return self._log_tail(0, x, values)

    def logsf(self, x: ArrayLike, values: Mapping[str, ArrayLike] = {}) -> Array:
        """Logarithm of the probability of a value of more than `x`; else like `logcdf`.

        Example:
            >>> from uqbench import Exponential
            >>> float(Exponential(2).logsf(1000.0))
            -2000.0
        """
        return self._log_tail(1, x, values)

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
            >>> from uqbench import LogNormal
            >>> float(LogNormal(median=3, sigma=0.5).ppf(0.5))
            3.0
        """
        (u,), safe, impossible = self._prepare(values, u)
        primary = self._to_primary(safe)
        lower, upper = self._support(*primary)
        within = (u > 0) & (u < 1)
        quantile = _compiled(self._quantile, jnp.where(within, u, 0.5), *primary)
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
            >>> from uqbench import Normal
            >>> draws = Normal("m", 1).sample(jax.random.key(0), (100,), {"m": jnp.zeros(3)})
            >>> draws.shape
            (100, 3)
        """
        _, safe, impossible = self._prepare(values)
        full = (*shape, *impossible.shape)
        draws = _compiled(self._draw, key, *(jnp.broadcast_to(value, full) for value in self._to_primary(safe)))
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
            >>> from uqbench import Gamma
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
            >>> from uqbench import Poisson
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
            >>> from uqbench import Exponential
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
            >>> from uqbench import Normal
            >>> Normal(0, 2).fisher_information().tolist()
            [[0.25, 0.0], [0.0, 0.5]]
        """
        _, safe, impossible = self._prepare(values)
        information = self._information(*self._to_primary(safe))
        if tuple(safe) != self.parametrisations[0]:
            # I(natural) = J' I(primary) J with J the derivative of the primary arguments in the natural ones.
            jacobian = jnp.moveaxis(elementwise_jacobian(self._to_primary, safe), 0, -2)
            information = jnp.einsum("...ci,...cd,...dj->...ij", jacobian, information, jacobian)
        return jnp.where((impossible == 0)[..., None, None], information, jnp.nan)

    def _log_tail(self, side: int, x: ArrayLike, values: Mapping[str, ArrayLike]) -> Array:
        """Logarithm of the probability of at most `x` (side 0), or of more (1)."""
        (x,), safe, impossible = self._prepare(values, x)
        primary = self._to_primary(safe)
        below, above, within = self._placed(x, primary)
        nothing, all_of_it = (below, above) if side == 0 else (above, below)
        tail = self._log_tails(within, *primary)[side]
        probability = jnp.where(nothing, -jnp.inf, jnp.where(all_of_it, 0.0, tail))
        no_probability = jnp.where(jnp.isnan(impossible) | jnp.isnan(x), jnp.nan, -jnp.inf)
        return jnp.where((impossible == 0) & ~jnp.isnan(x), probability, no_probability)

    def _prepare(self, values: Mapping, *others: ArrayLike) -> tuple[Sequence[Array], dict[str, Array], Array]:
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

    def _placed(self, x: Array, primary: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        """Which values have nothing, and which all of the probability below them; others, with something inside for
        these."""
        lower, upper = self._support(*primary)
        # A count has a positive probability at its lower bound, a continuous value has none.
        below, above = (x < lower if self.discrete else x <= lower), x >= upper
        within = jnp.where(below | above | jnp.isnan(x), self._somewhere_inside(lower, upper), x)
        return below, above, jnp.floor(within) if self.discrete else within

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
            return smallest_count(cls, *jax.lax.stop_gradient((u, *primary)))
        return inverse(cls, u, *primary)

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

    @classmethod
    def _log_tails(cls, x: Array, *primary: Array) -> tuple[Array, Array]:
        """Their logarithms; overridden where a tail of less than 1e-308 has one that is known."""
        lower, upper = cls._tails(x, *primary)

        def logarithm(tail):
            return jnp.where(tail > 0, jnp.log(jnp.where(tail > 0, tail, 1.0)), -jnp.inf)

        return logarithm(lower), logarithm(upper)

    @staticmethod
    def _mean(*primary: Array) -> Array:
        raise NotImplementedError

    @staticmethod
    def _variance(*primary: Array) -> Array:
        raise NotImplementedError

    @staticmethod
    def _information(*primary: Array) -> Array:
        raise NotImplementedError


def _apart(bound: Array, other: Array, error: Array, side: float) -> Array:
    """`bound`, put `error` above (`side` 1) or below (-1) `other` where it lies beyond it by no more than that."""
    distance = jax.lax.stop_gradient(side * (bound - other))
    edge = jax.lax.stop_gradient(other + side * error)
    return jnp.where((distance <= 0) & (distance >= -error), edge, bound)


def _shown(value: float | str) -> str:
    return repr(value).removesuffix(".0")
