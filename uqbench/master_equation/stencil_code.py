"""Machine code for P of `uniformisation`: from rates, the Poisson weights, and its product with a distribution.

The rates of an exponential are `fixed` ones (given, states), and for the groups that vary with time the mixture of
those at its nodes, `moving` (nodes, count_moving, states), with weights `mix` (nodes,).

Distributions lie in memory between margins of zeros, so that the value at x - shift is read without a condition.
"""

from ..native import foreign_call
from ..native.language import Indices, Vector, copy, fill, native


class Stencil(foreign_call.Model):
    """A box. Groups of reactions are made even in number by one that never fires."""

    states: int
    groups: int
    # those that rates are given for
    given: int
    margin: int
    shifts: Indices
    # (groups, states): 1 where a reaction of the group stays in the box, else 0
    inside: Vector
    # the groups whose rates vary with time
    count_moving: int
    moving: Indices


@native(inline=True, noalias=True)
def add_scaled(out: Vector, factor: float, x: Vector, n: int) -> None:
    for i in range(n):
        out[i] = out[i] + factor * x[i]


@native
def mixed(model: Stencil, fixed: Vector, moving: Vector, mix: Vector, nodes: int, rates: Vector) -> None:
    """The rates (given, states) of an exponential."""
    n = model.states
    copy(rates, fixed, model.given * n)
    for j in range(model.count_moving):
        for node in range(nodes):
            add_scaled(rates[model.moving[j] * n :], mix[node], moving[(node * model.count_moving + j) * n :], n)


@native(inline=True)
def jumps(model: Stencil, rates: Vector, stay: Vector, leave: Vector) -> float:
    """`Jumps.stay` (states,) and `.leave` (groups, states), from rates (given, states); returns their largest sum."""
    n = model.states
    largest = 1e-300
    for i in range(n):
        total = 0.0
        size = 0.0
        for g in range(model.given):
            total += rates[g * n + i]
            size += abs(rates[g * n + i])
        stay[i] = total
        largest = max(largest, size)
    # rounded up, so that no probability to stay is negative
    largest = largest * (1.0 + 4.0 * 2.220446049250313e-16)
    for i in range(n):
        stay[i] = 1.0 - stay[i] / largest
    for e in range(model.given * n):
        leave[e] = model.inside[e] * rates[e] / largest
    fill(leave[model.given * n :], 0.0, (model.groups - model.given) * n)
    return largest


@native(inline=True)
def arrive_from(model: Stencil, leave: Vector, arrive: Vector) -> None:
    """The same by the state that is reached: the value at x - shift, zero where there is none."""
    n = model.states
    for g in range(model.groups):
        by = model.shifts[g]
        fill(arrive[g * n :], 0.0, n)
        for i in range(max(by, 0), n + min(by, 0)):
            arrive[g * n + i] = leave[g * n + i - by]


@native(inline=True)
def generator(
    model: Stencil,
    fixed: Vector,
    moving: Vector,
    mix: Vector,
    nodes: int,
    rates: Vector,
    stay: Vector,
    leave: Vector,
    arrive: Vector,
) -> float:
    """Rates and P of an exponential; returns the rate L."""
    mixed(model, fixed, moving, mix, nodes, rates)
    largest = jumps(model, rates, stay, leave)
    arrive_from(model, leave, arrive)
    return largest


@native
def poisson_weights(w: Vector, mean: float, terms: int, tail: float) -> int:
    """Weights (terms,) of a Poisson law, and the last that is needed for all but `tail`.

    From the largest on, so that rounding of one weight goes with its distance from there.
    """
    fill(w, 0.0, terms)
    top = min(int(mean), terms - 1)
    w[top] = 1.0
    total = 1.0
    k = top + 1
    while k < terms and w[k - 1] > 1e-40:
        w[k] = w[k - 1] * (mean / k)
        total += w[k]
        k += 1
    k = top
    while k > 0:
        w[k - 1] = w[k] * (k / mean)
        total += w[k - 1]
        k -= 1
    for j in range(terms):
        w[j] = w[j] / total
    # beyond the k-th weight they fall faster than a geometric series with the ratio of the next two
    k = top + 1
    while k < terms and w[k] > tail * (1.0 - min(mean / (k + 1), 0.999)):
        k += 1
    return k - 1


@native(inline=True, noalias=True)
def _first(
    out: Vector,
    start: Vector,
    weight: float,
    stay: Vector,
    q: Vector,
    a: Vector,
    b: Vector,
    qa: Vector,
    qb: Vector,
    n: int,
) -> None:
    for i in range(n):
        out[i] = (weight * start[i] + stay[i] * q[i]) + (a[i] * qa[i] + b[i] * qb[i])


@native(inline=True, noalias=True)
def _first_four(
    out: Vector,
    start: Vector,
    weight: float,
    stay: Vector,
    q: Vector,
    a: Vector,
    b: Vector,
    c: Vector,
    d: Vector,
    qa: Vector,
    qb: Vector,
    qc: Vector,
    qd: Vector,
    n: int,
) -> None:
    for i in range(n):
        out[i] = (weight * start[i] + stay[i] * q[i]) + (a[i] * qa[i] + b[i] * qb[i]) + (c[i] * qc[i] + d[i] * qd[i])


@native(inline=True, noalias=True)
def add_two(out: Vector, a: Vector, b: Vector, qa: Vector, qb: Vector, n: int) -> None:
    for i in range(n):
        out[i] = out[i] + (a[i] * qa[i] + b[i] * qb[i])


@native
def product(
    model: Stencil, out: Vector, start: Vector, weight: float, stay: Vector, moved: Vector, q: Vector, sign: int
) -> None:
    """out = weight start + P q, or P' q; `out` and `q` with margins.

    Args:
        moved: probabilities (groups, states) by the state that is reached, with sign 1; by the state that is left, with
            sign -1 (the transpose).
    """
    n = model.states
    m = model.margin
    shifts: Indices = model.shifts
    c = moved[2 * n :]
    qa = q[m - sign * shifts[0] :]
    qb = q[m - sign * shifts[1] :]
    g = 2
    if model.groups >= 4:
        qc = q[m - sign * shifts[2] :]
        qd = q[m - sign * shifts[3] :]
        _first_four(out[m:], start, weight, stay, q[m:], moved, moved[n:], c, c[n:], qa, qb, qc, qd, n)
        g = 4
    else:
        _first(out[m:], start, weight, stay, q[m:], moved, moved[n:], qa, qb, n)
    while g < model.groups:
        a = moved[g * n :]
        add_two(out[m:], a, a[n:], q[m - sign * shifts[g] :], q[m - sign * shifts[g + 1] :], n)
        g += 2


@native(inline=True)
def scaled(out: Vector, factor: float, x: Vector, n: int) -> None:
    for i in range(n):
        out[i] = factor * x[i]


@native(inline=True, noalias=True)
def add_product(out: Vector, a: Vector, x: Vector, n: int) -> None:
    for i in range(n):
        out[i] = out[i] + a[i] * x[i]
