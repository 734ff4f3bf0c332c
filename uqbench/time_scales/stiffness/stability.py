"""How long a step a method bears: stability functions, and the largest stable step for given eigenvalues.

On y' = lambda y a one-step method multiplies the solution by R(h lambda) in each step, where the solution itself is
multiplied by e^(h lambda). What decays must not grow: the step is stable where abs(R) <= 1 (Dahlquist 1963; Hairer &
Wanner, Solving Ordinary Differential Equations II, chapter IV). For an explicit method R is a polynomial, which exceeds
1 somewhere on every ray, so a fast decay bounds the step for as long as one looks, also when it has long died out. An
A-stable method has no bound; an L-stable one also damps what it does not resolve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import ArrayLike, Complex, Float

from ...errors import InputError, nearest
from ...solvers import rosenbrock, tsitouras


@dataclass(frozen=True)
class Method:
    """A one-step method as the test equation sees it.

    Args:
        function: R(z), elementwise on complex arrays.
        polynomial: coefficients of R, constant first; None for an implicit method (all here are A-stable).
        order, constant: the error that is controlled is constant h^order abs(y^(order)), for the pairs that of their
            embedded estimate; as on linear problems.
        evaluations: of the right-hand side in each step.
    """

    function: Callable[[np.ndarray], np.ndarray]
    polynomial: tuple[float, ...] | None
    order: int
    constant: float
    evaluations: int


def _moments(weights, rows) -> np.ndarray:
    """weights . A^k . 1 for k = 0, 1, ...: coefficients of z^(k+1) of an explicit tableau."""
    size = len(rows)
    matrix = np.array([[*row, *[0.0] * (size - len(row))] for row in rows])
    powers = [np.ones(size)]
    for _ in range(size - 1):
        powers.append(matrix @ powers[-1])
    return np.array(powers) @ np.append(weights, np.zeros(size - len(weights)))


def _explicit(polynomial, order: int, constant: float, evaluations: int) -> Method:
    coefficients = tuple(float(value) for value in polynomial)
    return Method(partial(_evaluated, coefficients), coefficients, order, constant, evaluations)


def _evaluated(coefficients, z):
    return np.polynomial.polynomial.polyval(z, coefficients)


def _backward_euler(z):
    return 1.0 / (1.0 - z)


def _rodas5p(z):
    """(R, error estimate) of Rodas5P; its stages on y' = lambda y, y = 1, are (1/gamma - z) u_i = z g_i + C_ij u_j."""
    increments: list[np.ndarray] = []
    argument = np.ones_like(z)
    for stage, couplings in enumerate(rosenbrock.C):
        if stage < len(rosenbrock.A):
            argument = 1.0 + sum((a * u for a, u in zip(rosenbrock.A[stage], increments, strict=True)), 0.0 * z)
        else:
            argument = argument + increments[-1]
        coupled = sum((c * u for c, u in zip(couplings, increments, strict=True)), 0.0 * z)
        increments.append((z * argument + coupled) / (1.0 / rosenbrock.GAMMA - z))
    return argument + increments[-1], increments[-1]


# the coefficient of z^5 in the error estimate, as an average over a circle inside the poles (Cauchy)
_CIRCLE = np.exp(2j * np.pi * np.arange(64) / 64)
_RODAS5P_CONSTANT = float(np.mean(_rodas5p(_CIRCLE)[1] / _CIRCLE**5).real)
_TSITOURAS = np.append(1.0, _moments(tsitouras.A[-1], tsitouras.A)[: len(tsitouras.A) - 1])
METHODS = {
    "forward Euler": _explicit((1.0, 1.0), 2, 1 / 2, 1),
    "RK4": _explicit((1.0, 1.0, 1 / 2, 1 / 6, 1 / 24), 5, 1 / 120, 4),
    # the last stage of a step is the first of the next
    "Tsitouras": _explicit(_TSITOURAS, 5, float(abs(_moments(tsitouras.ERROR, tsitouras.A)[4])), 6),
    "backward Euler": Method(_backward_euler, None, 2, 1 / 2, 1),
    "Rodas5P": Method(lambda z: _rodas5p(z)[0], None, 5, abs(_RODAS5P_CONSTANT), 8),
}


def stability_function(method: str, z: ArrayLike) -> Complex[np.ndarray, "*shape"]:
    """R(z): the factor by which one step of size h multiplies the solution of y' = lambda y, at z = h lambda.

    Args:
        method: one of `METHODS`.
        z: complex or real, of any shape.

    Raises:
        InputError: for an unknown method.

    Example:
        >>> abs(stability_function("forward Euler", -1e4 * 2.1e-4))
        np.float64(1.1)
    """
    _check(method)
    return METHODS[method].function(np.asarray(z, complex))


def stable_steps(method: str, eigenvalues: ArrayLike) -> Float[np.ndarray, "*shape"]:
    """For each eigenvalue the largest step up to which abs(R(h lambda)) <= 1; infinite where it does not decay.

    Args:
        method: one of `METHODS`.
        eigenvalues: complex or real, in 1 / time, of any shape.

    Returns:
        of the same shape, in time.

    Raises:
        InputError: for an unknown method.
    """
    _check(method)
    eigenvalues = np.asarray(eigenvalues, complex)
    steps = np.full(eigenvalues.shape, np.inf)
    decaying = eigenvalues.real < 0
    if METHODS[method].polynomial is not None and np.any(decaying):
        bounded = eigenvalues[decaying]
        steps[decaying] = _radius(np.array(METHODS[method].polynomial), np.angle(bounded)) / np.abs(bounded)
    return steps


def largest_stable_step(method: str, eigenvalues: ArrayLike) -> float:
    """The largest step up to which every decaying eigenvalue is damped: abs(R(h lambda)) <= 1 for all steps below it.

    Args:
        method: one of `METHODS`.
        eigenvalues: complex or real, in 1 / time; those that do not decay (real part >= 0) do not count.

    Returns:
        in time; infinite for an A-stable method, and where nothing decays.

    Raises:
        InputError: for an unknown method.

    Example:
        >>> f"{largest_stable_step('RK4', [-1e4, -10.0, -0.1]):.9e}"
        '2.785293563e-04'
    """
    return float(np.min(stable_steps(method, eigenvalues), initial=np.inf))


def _radius(polynomial: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """The least r with abs(R(r e^(i angle))) > 1 beyond it: the first root of (abs(R)^2 - 1) / r, a polynomial in r."""
    powers = np.arange(len(polynomial))
    products = np.multiply.outer(polynomial, polynomial) * np.cos(np.multiply.outer(angle, powers[:, None] - powers))
    sums = [np.trace(products[..., ::-1], offset, -2, -1) for offset in range(len(powers) - 2, -len(powers), -1)]
    coefficients = np.stack(sums, axis=-1)
    size = coefficients.shape[-1] - 1
    companion = np.zeros((*angle.shape, size, size))
    companion[..., 1:, :-1] = np.eye(size - 1)
    companion[..., -1] = -coefficients[..., :-1] / coefficients[..., -1:]
    roots = np.linalg.eigvals(companion)
    crossing = (roots.real > 0) & (np.abs(roots.imag) <= 1e-9 * np.abs(roots))
    first = np.min(np.where(crossing, roots.real, np.inf), axis=-1)
    # eigenvalues of a companion matrix lose some digits, which one step of Newton's method gives back
    derivative = coefficients[..., 1:] * np.arange(1, size + 1)
    value, slope = (sum(row[..., k] * first**k for k in range(row.shape[-1])) for row in (coefficients, derivative))
    return first - value / slope


def _check(method: str) -> None:
    if method not in METHODS:
        raise InputError("stability", [f"method {method!r}; {nearest(method, [*METHODS])}"])
