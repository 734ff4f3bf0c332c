"""One step of Rodas5P with its dense output, and sensitivities that reuse its factorisation.

A Rosenbrock-Wanner method solves eight linear systems with one matrix per step and never iterates, so a step is
straight-line arithmetic: Rodas5P, Steinebach 2023, doi:10.1007/s10543-023-00967-x, order 5, stiffly accurate, L-stable,
eight stages, embedded order 4, dense output of order 4. Each stage solves, with W = I / (gamma h) - J,

    W u_i = f(t + alpha_i h, y + sum_j a_ij u_j) + sum_j C_ij u_j / h + h gamma_i f_t.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ..native.engine.rodas5p_tableau import ALPHA, DENSE, GAMMA, GAMMA_SUMS, A, C
from .dense_inverse import DenseInverse
from .scalars import Rhs, Scalars, combine, once
from .sparse_lu import LARGEST_FILL, SparseLU, structure
from .stepping import Method


def step(linear: SparseLU | DenseInverse, rhs: Rhs, t, h, y: Scalars):
    """One step: the new state, the error estimate and the increments of the stages."""
    size = range(len(y))
    jacobian = linear.jacobian(rhs, t, y)
    shift = 1.0 / (GAMMA * h)
    factors = linear.factorize(lax.stop_gradient(shift), lax.stop_gradient(jacobian))
    inverse = 1.0 / h
    if linear.uses_time:
        slope, f_t = jax.jvp(lambda t: tuple(rhs(t, y)), (t,), (jnp.ones(()),))
    else:
        slope, f_t = rhs(t, y), None
    increments, argument = [], y
    for stage in range(8):
        if 0 < stage < 6:
            argument = [y[k] + combine(A[stage], increments, k) for k in size]
        elif stage >= 6:
            argument = [argument[k] + increments[-1][k] for k in size]
        f = slope if stage == 0 else rhs(t + ALPHA[stage] * h, argument)
        right = [f[k] + inverse * combine(C[stage], increments, k) if stage else f[k] for k in size]
        if linear.uses_time and GAMMA_SUMS[stage]:
            right = [right[k] + (h * GAMMA_SUMS[stage]) * f_t[k] for k in size]
        increments.append(once(linear.substitute(factors, shift, jacobian, tuple(right))))
    new = [argument[k] + increments[-1][k] for k in size]
    return new, increments[-1], increments


def dense(h, increments: list[Scalars]):
    """Coefficients k_1..k_3 for each state."""
    return [[combine(row, increments, k) for row in DENSE] for k in range(len(increments[0]))]


def interpolate(s, before, after, coefficients):
    """The state at the fraction `s` of the step."""
    k1, k2, k3 = coefficients
    return (1 - s) * before + s * (after + (1 - s) * (k1 + s * (k2 + s * k3)))


def rodas5p(linear: SparseLU | DenseInverse) -> Method:
    """Rodas5P with the given solver of its linear systems."""
    return Method(partial(step, linear), dense, interpolate)


def implicit_method(rhs: Rhs, size: int) -> Method:
    """Rodas5P with the linear systems of this right-hand side unrolled where they are small, as arrays elsewhere."""
    pattern = structure(rhs, size)
    sparse = len(pattern.fill) <= LARGEST_FILL
    return rodas5p(pattern if sparse else DenseInverse(size, pattern.uses_time))
