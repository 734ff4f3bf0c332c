"""The largest eigenvalues of a matrix that is known by its products alone (Arnoldi's method, ARPACK in scipy)."""

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs

Product = Callable[[np.ndarray], np.ndarray]
# Relative accuracy, vectors that are kept, and restarts.
TOLERANCE, KEPT, RESTARTS = 1e-3, 60, 30
# Products from which the radius is had where eigenvalues do not converge; the first half is not counted.
PRODUCTS = 400


def largest(product: Product, size: int, which: str) -> float:
    """The largest absolute value ("LM") or the largest real part ("LR") of the eigenvalues.

    Where they do not converge: the mean growth over many products for "LM", which is not accurate but no bias either;
    0 for "LR".

    Args:
        product: `(size,)` -> `(size,)`.

    Example:
        >>> matrix = np.diag(np.linspace(-3.0, 1.0, 100))
        >>> round(largest(lambda v: matrix @ v, 100, "LM"), 2), round(largest(lambda v: matrix @ v, 100, "LR"), 2)
        (3.0, 1.0)
    """
    try:
        found = _eigenvalues(product, size, 1, which)
    except ArpackNoConvergence:
        return _growth(product, size) if which == "LM" else 0.0
    except (ArpackError, FloatingPointError):
        return float("inf")
    return float(np.max(np.abs(found) if which == "LM" else found.real))


def _eigenvalues(product: Product, size: int, count: int, which: str) -> np.ndarray:
    if size <= KEPT:
        matrix = np.stack([_finite(product(column)) for column in np.eye(size)], axis=1)
        return np.linalg.eigvals(matrix)
    operator = LinearOperator((size, size), matvec=lambda v: _finite(product(v)), dtype=float)
    settings = {"ncv": KEPT, "tol": TOLERANCE, "maxiter": RESTARTS, "v0": _start(size)}
    return eigs(operator, k=count, which=which, return_eigenvectors=False, **settings)


def _finite(vector) -> np.ndarray:
    vector = np.asarray(vector)
    if not np.all(np.isfinite(vector)):
        raise FloatingPointError("a product is not finite")
    return vector


def _start(size: int) -> np.ndarray:
    """A vector with every direction in it, the same each time."""
    return np.random.default_rng(0).normal(size=size)


def _growth(product: Product, size: int) -> float:
    vector, logs = _start(size), []
    for _ in range(PRODUCTS):
        vector = _finite(product(vector / np.linalg.norm(vector)))
        logs.append(np.log(max(float(np.linalg.norm(vector)), 1e-300)))
    return float(np.exp(np.mean(logs[PRODUCTS // 2 :])))
