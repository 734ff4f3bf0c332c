"""Stiff initial value problems: Rodas5P as one compiled loop, with sensitivities that reuse its factorisation.

A Rosenbrock-Wanner method solves eight linear systems with one matrix per step and never iterates, so a step is
straight-line arithmetic. Two facts about XLA's CPU backend shape the code: - a `while` whose body holds no scatter,
sort, FFT or custom call (no LAPACK) becomes one native function, so that a step
  costs its arithmetic instead of a dispatch for each fusion: everything here is scalar code without shapes;
- an inner `jit` is traced and differentiated once for all stages, and inlined afterwards.

Method: Rodas5P, Steinebach 2023, doi:10.1007/s10543-023-00967-x: order 5, stiffly accurate, L-stable, eight stages,
embedded order 4, dense output of order 4. Each stage solves, with W = I / (gamma h) - J,

    W u_i = f(t + alpha_i h, y + sum_j a_ij u_j) + sum_j C_ij u_j / h + h gamma_i f_t.
"""

import jax
import jax.numpy as jnp
from jax import lax

from .sparse_lu import Rhs, Scalars, Structure, factorize, once, structure, substitute

SUCCESS, STEP_LIMIT, BLOW_UP = 0, 1, 2

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


def jacobian(rhs: Rhs, t, y: Scalars, pattern: Structure) -> tuple:
    """The entries of d rhs / d y that the pattern names, by forward differentiation, one column at a time."""
    values = {}
    for k in range(len(y)):
        rows = [i for i, j in pattern.entries if j == k]
        if rows:

            def column(yk, k=k, rows=rows):
                return [rhs(t, [*y[:k], yk, *y[k + 1 :]])[i] for i in rows]

            _, derivatives = jax.jvp(column, (y[k],), (jnp.ones(()),))
            values.update({(i, k): value for i, value in zip(rows, derivatives, strict=True)})
    return once(tuple(values[entry] for entry in pattern.entries))


def _combine(coefficients, vectors, k):
    """sum_j coefficients[j] vectors[j][k]"""
    total = None
    for c, vector in zip(coefficients, vectors, strict=True):
        term = vector[k] if c == 1.0 else c * vector[k]
        total = term if total is None else total + term
    return total


def step(rhs: Rhs, pattern: Structure, t, h, y: Scalars):
    """One step: the new state, the error estimate and the increments, from which the dense output follows."""
    size = range(len(y))
    entries = jacobian(rhs, t, y, pattern)
    shift = 1.0 / (GAMMA * h)
    factors = factorize(pattern, shift, lax.stop_gradient(entries))
    inverse = 1.0 / h
    if pattern.uses_time:
        slope, f_t = jax.jvp(lambda t: tuple(rhs(t, y)), (t,), (jnp.ones(()),))
    else:
        slope, f_t = rhs(t, y), None
    increments, argument = [], y
    for stage in range(8):
        if 0 < stage < 6:
            argument = [y[k] + _combine(A[stage], increments, k) for k in size]
        elif stage >= 6:
            argument = [argument[k] + increments[-1][k] for k in size]
        f = slope if stage == 0 else rhs(t + ALPHA[stage] * h, argument)
        right = [f[k] + inverse * _combine(C[stage], increments, k) if stage else f[k] for k in size]
        if pattern.uses_time and GAMMA_SUMS[stage]:
            right = [right[k] + (h * GAMMA_SUMS[stage]) * f_t[k] for k in size]
        increments.append(once(substitute(pattern, factors, shift, entries, once(tuple(right)))))
    return [argument[k] + increments[-1][k] for k in size], increments[-1], increments


def interpolant(increments):
    """Coefficients k_1..k_3 of y(s) = (1-s) y0 + s (y1 + (1-s) (k_1 + s (k_2 + s k_3))), one list per state."""
    return [[_combine(row, increments, k) for row in DENSE] for k in range(len(increments[0]))]


def _weighted_norm(values, before, after, rtol, atol):
    values, before, after = lax.stop_gradient((list(values), list(before), list(after)))
    total = 0.0
    for value, a, b in zip(values, before, after, strict=True):
        total = total + jnp.square(value / (atol + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b))))
    return jnp.sqrt(total / len(values))


def first_step(rhs: Rhs, t, y: Scalars, span, rtol, atol):
    """The step whose local error is about the tolerance if the derivatives keep growing as the first two do.

    With |y'| = d1 and |y''| = d2 in the error norm, y^(5) is taken as d1 (d2/d1)^4; no unit of time enters.
    """
    slope, curvature = jax.jvp(lambda t, *y: tuple(rhs(t, y)), (t, *y), (jnp.ones(()), *rhs(t, y)))
    d1, d2 = _weighted_norm(slope, y, y, rtol, atol), _weighted_norm(curvature, y, y, rtol, atol)
    tiny = 1e-200
    rate = d2 / jnp.maximum(d1, tiny)
    h = 0.5 * (100.0 / jnp.maximum(d1 * rate**4, tiny)) ** 0.2
    return jnp.minimum(jnp.where(jnp.isfinite(h) & (h > 0), h, 1e-6 * span), span)


SAFETY, SHRINK, GROW = 0.9, 0.2, 6.0
PROPORTIONAL, INTEGRAL = 0.3 / 5, 0.7 / 5
LEAST_LOG_ERROR = -9.2
MAX_REJECTIONS = 25
LARGEST = 1e60  # no unit makes a state of a mechanistic model this large; an exponential blow-up is called one early


def solve(
    rhs: Rhs, t0, y0, ts, *, rtol, atol, max_steps: int = 4096, pattern: Structure | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Integrates y' = rhs(t, y) from y(t0) = y0 and returns the states at `ts`; traceable, never raises.

    Forward-mode derivatives (`jax.jvp`, `jax.jacfwd`) are those of the steps taken, at fixed step sizes, and reuse the
    factorisation of each step; reverse mode needs them as a custom rule. A batch is `jax.vmap`.

    Args:
        rhs: `rhs(t, y)`: d scalars -> d scalars, `y` indexable; it may close over traced parameters.
        t0: start, time unit of the model.
        y0: `(d,)`.
        ts: `(n,)` non-decreasing, none before `t0`; repeats are allowed.
        rtol, atol: local error per step, relative and absolute.
        max_steps: steps after which to give up, rejected ones included.

    Returns:
        states `(n, d)`, NaN where not reached; code (`SUCCESS`, `STEP_LIMIT`, `BLOW_UP`); steps, rejected ones
        included.
    """
    size = len(y0)
    y0 = [y0[k] for k in range(size)]
    t0, ts = jnp.asarray(t0, float), jnp.asarray(ts, float)
    traced_once = jax.jit(lambda t, *y: tuple(rhs(t, y)))

    def f(t, y):
        return traced_once(t, *y)

    pattern = structure(rhs, size) if pattern is None else pattern
    end = ts[-1]

    def body(carry):
        t, y = carry["t"], carry["y"]
        remaining = end - t
        last = carry["h"] * 1.001 >= remaining
        h = jnp.where(last, remaining, carry["h"])
        new, error, increments = step(f, pattern, t, h, y)
        norm = _weighted_norm(error, y, new, rtol, atol)
        accepted = norm <= 1.0
        rejections = jnp.where(accepted, 0, carry["rejections"] + 1)
        factor, log_error = _next_step(norm, accepted, carry["log_error"], carry["rejections"])
        t_new = jnp.where(last, end, t + h)
        here = accepted & (ts > t) & (ts <= t_new)
        coefficients = once(interpolant(increments))

        def write(rows):
            s = (ts - t) / h
            return [
                jnp.where(here, (1 - s) * a + s * (b + (1 - s) * (k1 + s * (k2 + s * k3))), row)
                for row, a, b, (k1, k2, k3) in zip(rows, y, new, coefficients, strict=True)
            ]

        steps, done = carry["steps"] + 1, accepted & last
        stuck = (rejections >= MAX_REJECTIONS) | (t_new == t) | (accepted & _beyond(new))
        return {
            "t": jnp.where(accepted, t_new, t),
            "h": h * factor,
            "y": [jnp.where(accepted, b, a) for a, b in zip(y, new, strict=True)],
            "log_error": log_error,
            "rejections": rejections,
            "rows": lax.cond(jnp.any(here), write, lambda rows: rows, carry["rows"]),
            "steps": steps,
            "done": done,
            "running": ~(done | stuck | (steps >= max_steps)),
        }

    start = {
        "t": t0,
        "h": lax.stop_gradient(first_step(f, t0, y0, end - t0, rtol, atol)),
        "y": y0,
        "log_error": jnp.asarray(LEAST_LOG_ERROR),
        "rejections": jnp.asarray(0),
        "rows": [jnp.where(ts <= t0, value, jnp.nan) for value in y0],
        "steps": jnp.asarray(0),
        "done": end <= t0,
        "running": end > t0,
    }
    final = lax.while_loop(lambda carry: carry["running"], body, start)
    code = jnp.where(final["done"], SUCCESS, jnp.where(final["steps"] >= max_steps, STEP_LIMIT, BLOW_UP))
    return jnp.stack(final["rows"], axis=1), code, final["steps"]


def _beyond(y: Scalars):
    y = lax.stop_gradient(list(y))
    return sum((jnp.abs(value) for value in y), jnp.zeros(())) > LARGEST


def _next_step(norm, accepted, log_before, rejections):
    """Factor of the next step (Gustafsson 1991, doi:10.1145/210232.210242) and the logarithm of the last good error."""
    log_error = jnp.log(jnp.clip(jnp.where(jnp.isfinite(norm), norm, 1e10), 1e-10, 1e10))
    smooth = SAFETY * jnp.exp(PROPORTIONAL * log_before - (PROPORTIONAL + INTEGRAL) * log_error)
    # the step before a rejection was too long, so its error is no guide to a longer one
    smooth = jnp.where(rejections > 0, jnp.minimum(smooth, 1.0), smooth)
    retry = SAFETY * jnp.exp(-0.2 * log_error)
    factor = jnp.clip(jnp.where(accepted, smooth, retry), SHRINK, GROW)
    return factor, jnp.where(accepted, jnp.maximum(log_error, LEAST_LOG_ERROR), log_before)
