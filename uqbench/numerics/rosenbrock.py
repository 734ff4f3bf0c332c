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

from .dense_inverse import DenseInverse
from .scalars import Rhs, Scalars, combine, once
from .sparse_lu import SparseLU
from .stepping import Method

GAMMA = 0.21193756319429014
ALPHA = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
GAMMA_SUMS = (GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069, 0.0, 0.0, 0.0)
# Stages 7 and 8 start from the argument of the stage before plus its increment, and so does the result.
A = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946),
)
C = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)
DENSE = (
    (
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ),
    (
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ),
    (
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ),
)


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
