"""Orthonormal polynomials of one random input: the alphabet in which a polynomial chaos expansion is written.

Every distribution is a smooth function of a standard variable, its germ, and every germ has polynomials p_0 = 1, p_1,
p_2, ... with E[p_j p_k] = 1 if j = k and 0 otherwise (Xiu and Karniadakis 2002, doi:10.1137/S1064827501387826):

    Normal, and LogNormal in the logarithm      Hermite     germ (x - mu) / sigma
    Uniform, and LogUniform in the logarithm    Legendre    germ on (-1, 1)
    Exponential, Gamma                          Laguerre    germ rate * x
    Beta                                        Jacobi      germ 2 x - 1
    others between two finite bounds            Legendre    germ 2 F(x) - 1, with F the distribution function
    others                                      Hermite     germ Phi^-1(F(x))

The last two are isoprobabilistic: the germ has the right distribution whatever the family is. An unbounded input is
mapped to a normal, not to a uniform germ, because it is a singular function of F(x) at the ends: of the variance of a
HalfNormal input itself, degree 5 misses 4e-5 in a normal germ and 7e-3 in a uniform one.

A distribution may name other parameters. Its germ is then that of the distribution *given* those (Rosenblatt 1952,
doi:10.1214/aoms/1177729394), so germs are independent, as the coordinates of `Space.from_cube` are. A family whose
polynomials depend on an argument (the shapes of Gamma and Beta) needs a number there, else it is taken through F.

Orthonormal polynomials obey one recurrence, b_{k+1} p_{k+1} = (t - a_k) p_k - b_k p_{k-1}, which is stable on the
support, and so is its derivative. The coefficients are in Gautschi (2004, Orthogonal Polynomials, Table 1.1).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from scipy.linalg import eigh_tridiagonal

from ...distributions import Beta, Distribution, Exponential, Gamma, LogNormal, LogUniform, Normal, Uniform
from ...space import Space


@dataclass(frozen=True)
class OrthonormalBasis:
    """A family of orthonormal polynomials: "hermite", "legendre", "laguerre" or "jacobi".

    Args:
        family: which.
        shapes: `(alpha,)` of the Gamma density t^(alpha - 1) e^-t for Laguerre; `(alpha, beta)` of the Beta density in
            (1 + t) / 2 for Jacobi; empty for the others.

    Example:
        >>> values, derivatives = OrthonormalBasis("hermite").evaluate(np.array([2.0]), 2)
        >>> values.round(3), derivatives.round(3)
        (array([[1.   , 2.   , 2.121]]), array([[0.   , 1.   , 2.828]]))
    """

    family: str
    shapes: tuple[float, ...] = ()

    @property
    def unbounded(self) -> bool:
        """Whether the germ can be arbitrarily large."""
        return self.family in ("hermite", "laguerre")

    def recurrence(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """`a_0 .. a_degree` and `b_0 .. b_degree` (b_0 = 0): the Jacobi matrix of the germ."""
        k = np.arange(degree + 1, dtype=float)
        if self.family == "hermite":
            return 0 * k, np.sqrt(k)
        if self.family == "legendre":
            return 0 * k, k / np.sqrt(np.abs(4 * k**2 - 1))
        if self.family == "laguerre":
            (alpha,) = self.shapes
            return 2 * k + alpha, np.sqrt(k * np.abs(k + alpha - 1))
        # Jacobi in the exponents of (1 - t) and (1 + t); k = 0 and 1 apart, where the general form may be 0 / 0
        q, p = self.shapes[0] - 1, self.shapes[1] - 1
        s = 2 * k + p + q
        a, b = np.empty_like(k), np.zeros_like(k)
        a[0] = (q - p) / (p + q + 2)
        a[1:] = (q - p) * (q + p) / (s[1:] * (s[1:] + 2))
        b[1:2] = np.sqrt(4 * (p + 1) * (q + 1) / ((p + q + 2) ** 2 * (p + q + 3)))
        k, s = k[2:], s[2:]
        b[2:] = np.sqrt(4 * k * (k + p) * (k + q) * (k + p + q) / (s**2 * (s + 1) * (s - 1)))
        return a, b

    def evaluate(self, t: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and derivatives of p_0 .. p_degree at `t`, each `(..., degree + 1)`."""
        t = np.asarray(t, dtype=float)
        a, b = self.recurrence(degree)
        values, slopes = np.zeros((2, degree + 1, *t.shape))
        values[0] = 1.0
        for k in range(degree):
            below, below_slope = (values[k - 1], slopes[k - 1]) if k else (0.0, 0.0)
            values[k + 1] = ((t - a[k]) * values[k] - b[k] * below) / b[k + 1]
            slopes[k + 1] = (values[k] + (t - a[k]) * slopes[k] - b[k] * below_slope) / b[k + 1]
        return np.moveaxis(values, 0, -1), np.moveaxis(slopes, 0, -1)

    def supports(self, t: np.ndarray) -> np.ndarray:
        """Whether the germ can be `t`; rounding at a bound is forgiven."""
        if self.family == "hermite":
            return np.isfinite(t)
        return (t >= -1 - 1e-9) & (t <= 1 + 1e-9) if self.family != "laguerre" else (t >= 0) & np.isfinite(t)

    def quadrature(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Gauss nodes and probabilities, exact up to degree `2 points - 1` (Golub and Welsch 1969,
        doi:10.1090/S0025-5718-69-99647-1)."""
        a, b = self.recurrence(points - 1)
        nodes, vectors = eigh_tridiagonal(a, b[1:])
        return nodes, vectors[0] ** 2

    def slope_norms(self, degree: int) -> np.ndarray:
        """`E[p_k'(t)^2]` for k = 0 .. degree: how much steeper a polynomial is the higher its degree."""
        nodes, weights = self.quadrature(degree + 1)
        return weights @ self.evaluate(nodes, degree)[1] ** 2


def basis_of(dist: Distribution, space: Space) -> OrthonormalBasis:
    """The polynomials that belong to the germ of `dist`, a distribution in `space`.

    Example:
        >>> from uqbench import Gamma
        >>> basis_of(Gamma(2.0, 5.0), Space())
        OrthonormalBasis(family='laguerre', shapes=(2.0,))
    """
    if isinstance(dist, Normal | LogNormal):
        return OrthonormalBasis("hermite")
    if isinstance(dist, Uniform | LogUniform):
        return OrthonormalBasis("legendre")
    if isinstance(dist, Exponential):
        return OrthonormalBasis("laguerre", (1.0,))
    if _own_polynomials(dist, space):
        # the rate of a Gamma may name a free parameter; it is no part of the polynomials
        values = dict.fromkeys(space.free, 1.0) | _numbers(space)
        shapes = tuple(float(value) for value in dist.canonical(values).values())
        return (
            OrthonormalBasis("jacobi", shapes) if isinstance(dist, Beta) else OrthonormalBasis("laguerre", shapes[:1])
        )
    return OrthonormalBasis("legendre" if _bounded(dist, space) else "hermite")


def to_germ(space: Space, x: np.ndarray, slopes: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """The germs of points, and how they change with the natural values.

    Args:
        space: its free parameters are the columns of `x`.
        x: `(n, d)` natural values.
        slopes: whether derivatives are wanted.

    Returns:
        germs `(n, d)`, NaN where a value or its arguments are impossible; derivatives of germs (last axis but one) in
        values (last axis) `(n, d, d)`, lower triangular, and diagonal unless a distribution names a free parameter; or
        None.
    """
    x = jnp.asarray(x, dtype=float)

    def germs(x):
        values = dict(zip(space.free, jnp.moveaxis(x, -1, 0), strict=True)) | _numbers(space)
        return jnp.stack([_germ(space[name].dist, values[name], values, space) for name in space.free], axis=-1)

    if not slopes:
        return np.asarray(germs(x)), None
    d = x.shape[-1]
    if not any(name in space.free for parameter in space.values() for name in parameter.names):
        # every germ depends on its own value alone, so that one direction shows all derivatives
        t, diagonal = jax.jvp(germs, (x,), (jnp.ones_like(x),))
        return np.asarray(t), np.asarray(diagonal)[..., None] * np.eye(d)
    columns = [jax.jvp(germs, (x,), (jnp.broadcast_to(direction, x.shape),)) for direction in jnp.eye(d)]
    return np.asarray(columns[0][0]), np.stack([np.asarray(column) for _, column in columns], axis=-1)


def _germ(dist: Distribution, x: jax.Array, values: dict, space: Space) -> jax.Array:
    possible = [dist.domains[name].holds(value) for name, value in dist.resolve(values).items()]
    germ = _standard(dist, x, values, space)
    return jnp.where(jnp.all(jnp.stack(jnp.broadcast_arrays(*possible)), axis=0), germ, jnp.nan)


def _standard(dist: Distribution, x: jax.Array, values: dict, space: Space) -> jax.Array:
    closed = isinstance(dist, Normal | LogNormal | Uniform | LogUniform | Exponential)
    if not (closed or _own_polynomials(dist, space)):
        probability = dist.cdf(x, values)
        # the ends of the support, and what is outside of it
        probability = jnp.where((probability > 0) & (probability < 1), probability, jnp.nan)
        return 2 * probability - 1 if _bounded(dist, space) else ndtri(probability)
    first, *rest = dist.canonical(values).values()
    if isinstance(dist, Normal):
        return (x - first) / rest[0]
    if isinstance(dist, LogNormal):
        return (jnp.log(x) - first) / rest[0]
    if isinstance(dist, Uniform):
        return 2 * (x - first) / (rest[0] - first) - 1
    if isinstance(dist, LogUniform):
        return 2 * jnp.log(x / first) / jnp.log(rest[0] / first) - 1
    if isinstance(dist, Beta):
        return 2 * x - 1
    return x * (rest[0] if isinstance(dist, Gamma) else first)


def _own_polynomials(dist: Distribution, space: Space) -> bool:
    """Whether the shapes of a Gamma or Beta are numbers, which its polynomials need."""
    shapes = dist.arguments if isinstance(dist, Beta) or "mu" in dist.arguments else ("alpha",)
    given = [dist.arguments.get(name) for name in shapes]
    return isinstance(dist, Gamma | Beta) and not any(name in space.free for name in given)


def _bounded(dist: Distribution, space: Space) -> bool:
    """Whether both bounds are finite; those that another parameter gives are, as its values are."""
    if isinstance(dist, Beta):
        return True
    bounds = [dist.arguments.get(name, np.inf) for name in ("lower", "upper")]
    return all(isinstance(bound, str) or np.isfinite(bound) for bound in bounds)


def _numbers(space: Space) -> dict[str, float]:
    return {name: space[name].dist for name in space.fixed}
