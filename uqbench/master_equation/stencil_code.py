"""Machine code for `uniformisation`: exponentials of generators of one box, their tangents and their adjoint.

The same sums in the same order of terms as there; a product of a few hundred states takes a fraction of a microsecond,
where turning a compiled JAX loop takes some. A member of a batch is one call of `_exponentials`, `_tangents` or
`_adjoint`; what each takes and gives is said there.

The rates of an exponential are `fixed` ones (given, states), and for the groups that vary with time the mixture of
those at its nodes, `moving` (nodes, count_moving, states), with weights `mix` (nodes,).

Distributions lie in memory between margins of zeros, so that the value at x - shift is read without a condition.
"""

from ..native import foreign_call
from ..native.foreign_call import Call, operand, result
from ..native.language import Indices, Vector, allocate, allocate_indices, copy, fill, native, release, sqrt

# Distributions that the adjoint keeps within an exponential, in numbers: 32 MB.
KEPT = 2**16


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
def _add_scaled(out: Vector, factor: float, x: Vector, n: int) -> None:
    for i in range(n):
        out[i] = out[i] + factor * x[i]


@native
def _mixed(model: Stencil, fixed: Vector, moving: Vector, mix: Vector, nodes: int, rates: Vector) -> None:
    """The rates (given, states) of an exponential."""
    n = model.states
    copy(rates, fixed, model.given * n)
    for j in range(model.count_moving):
        for node in range(nodes):
            _add_scaled(rates[model.moving[j] * n :], mix[node], moving[(node * model.count_moving + j) * n :], n)


@native(inline=True)
def _jumps(model: Stencil, rates: Vector, stay: Vector, leave: Vector) -> float:
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
def _arrive(model: Stencil, leave: Vector, arrive: Vector) -> None:
    """The same by the state that is reached: the value at x - shift, zero where there is none."""
    n = model.states
    for g in range(model.groups):
        by = model.shifts[g]
        fill(arrive[g * n :], 0.0, n)
        for i in range(max(by, 0), n + min(by, 0)):
            arrive[g * n + i] = leave[g * n + i - by]


@native
def _poisson_weights(w: Vector, mean: float, terms: int, tail: float) -> int:
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
def _further(out: Vector, a: Vector, b: Vector, qa: Vector, qb: Vector, n: int) -> None:
    for i in range(n):
        out[i] = out[i] + (a[i] * qa[i] + b[i] * qb[i])


@native
def _product(
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
        _further(out[m:], a, a[n:], q[m - sign * shifts[g] :], q[m - sign * shifts[g + 1] :], n)
        g += 2


@native(inline=True)
def _scaled(out: Vector, factor: float, x: Vector, n: int) -> None:
    for i in range(n):
        out[i] = factor * x[i]


@native
def exponentials(model: Stencil, call: Call, b: int) -> None:
    """Exponentials one after another.

    Operands: fixed, moving (exponentials, nodes, ..), mix (exponentials, nodes), durations (exponentials,), the
    distribution to begin with (states,), settings (terms, tail). Results: the distribution after each (exponentials,
    states), products of each.
    """
    n = model.states
    m = model.margin
    width = n + 2 * m
    fixed = operand(call, 0, b)
    moving = operand(call, 1, b)
    mix = operand(call, 2, b)
    durations = operand(call, 3, b)
    count = call.operand_sizes[3]
    nodes = call.operand_sizes[2] // count
    varied = nodes * model.count_moving * n
    start = operand(call, 4, b)
    settings = operand(call, 5, b)
    terms = int(settings[0])
    rows = result(call, 0, b)
    products = result(call, 1, b)
    memory = allocate((1 + 3 * model.groups) * n + 2 * width + terms)
    rates = memory
    stay = rates[model.groups * n :]
    leave = stay[n:]
    arrive = leave[model.groups * n :]
    q = arrive[model.groups * n :]
    following = q[width:]
    w = following[width:]
    for e in range(count):
        out = rows[e * n :]
        if durations[e] == 0.0:
            copy(out, start, n)
            products[e] = 0.0
        else:
            _mixed(model, fixed, moving[e * varied :], mix[e * nodes :], nodes, rates)
            largest = _jumps(model, rates, stay, leave)
            _arrive(model, leave, arrive)
            last = _poisson_weights(w, largest * durations[e], terms, settings[1])
            _scaled(q[m:], w[last], start, n)
            k = last
            while k > 0:
                k -= 1
                _product(model, following, start, w[k], stay, arrive, q, 1)
                kept = q
                q = following
                following = kept
            copy(out, q[m:], n)
            products[e] = last
        start = out
    release(memory)


@native(inline=True)
def _change_of_jumps(model: Stencil, d_rates: Vector, largest: float, d_stay: Vector, d_leave: Vector) -> None:
    """As `_jumps`, for a change of the rates at the same largest rate."""
    n = model.states
    for i in range(n):
        total = 0.0
        for g in range(model.given):
            total += d_rates[g * n + i]
        d_stay[i] = -total / largest
    for e in range(model.given * n):
        d_leave[e] = model.inside[e] * d_rates[e] / largest
    fill(d_leave[model.given * n :], 0.0, (model.groups - model.given) * n)


@native(inline=True, noalias=True)
def _add_product(out: Vector, a: Vector, x: Vector, n: int) -> None:
    for i in range(n):
        out[i] = out[i] + a[i] * x[i]


@native
def _differs(x: Vector, n: int) -> int:
    """1 where an element is not zero, else 0."""
    for i in range(n):
        if x[i] != 0.0:
            return 1
    return 0


@native
def _add_change(model: Stencil, out: Vector, d_stay: Vector, d_arrive: Vector, moves: Indices, q: Vector) -> None:
    """out += dP q; `out` and `q` with margins. `moves` says of which groups a rate changes at all."""
    n = model.states
    m = model.margin
    _add_product(out[m:], d_stay, q[m:], n)
    for g in range(model.given):
        if moves[g] != 0:
            _add_product(out[m:], d_arrive[g * n :], q[m - model.shifts[g] :], n)


@native
def tangents(model: Stencil, call: Call, b: int) -> None:
    """Changes of `exponentials` with changes of the rates and of the distribution to begin with.

    Operands: fixed, moving, mix, durations as for `exponentials`, the distribution before each (exponentials, states),
    changes of `fixed` (changes, ..), of `moving` (exponentials, changes, nodes, ..) and of the distribution before the
    first (changes, states), settings (terms, tail). Result: changes after each (exponentials, changes, states).
    """
    n = model.states
    m = model.margin
    width = n + 2 * m
    size = model.given * n
    fixed = operand(call, 0, b)
    moving = operand(call, 1, b)
    mix = operand(call, 2, b)
    durations = operand(call, 3, b)
    count = call.operand_sizes[3]
    nodes = call.operand_sizes[2] // count
    varied = nodes * model.count_moving * n
    starts = operand(call, 4, b)
    d_fixed = operand(call, 5, b)
    d_moving = operand(call, 6, b)
    d_start = operand(call, 7, b)
    changes = call.operand_sizes[7] // n
    settings = operand(call, 8, b)
    terms = int(settings[0])
    rows = result(call, 0, b)
    # P of the generator, and of each change
    one = (1 + model.groups) * n
    memory = allocate((1 + changes) * one + 2 * model.groups * n + (2 + 2 * changes) * width + terms)
    rates = memory
    stay = rates[model.groups * n :]
    arrive = stay[n:]
    d_p = stay[one:]
    leave = d_p[changes * one :]
    q = leave[model.groups * n :]
    following = q[width:]
    dq = following[width:]
    d_following = dq[changes * width :]
    w = d_following[changes * width :]
    moves = allocate_indices(changes * model.groups)
    for e in range(count):
        out = rows[e * changes * n :]
        start = starts[e * n :]
        if durations[e] == 0.0:
            copy(out, d_start, changes * n)
        else:
            _mixed(model, fixed, moving[e * varied :], mix[e * nodes :], nodes, rates)
            largest = _jumps(model, rates, stay, leave)
            _arrive(model, leave, arrive)
            last = _poisson_weights(w, largest * durations[e], terms, settings[1])
            _scaled(q[m:], w[last], start, n)
            for c in range(changes):
                moved = d_moving[(e * changes + c) * varied :]
                _mixed(model, d_fixed[c * size :], moved, mix[e * nodes :], nodes, rates)
                _change_of_jumps(model, rates, largest, d_p[c * one :], leave)
                _arrive(model, leave, d_p[c * one + n :])
                for g in range(model.given):
                    moves[c * model.groups + g] = _differs(d_p[c * one + (1 + g) * n :], n)
                _scaled(dq[c * width + m :], w[last], d_start[c * n :], n)
            k = last
            while k > 0:
                k -= 1
                for c in range(changes):
                    new = d_following[c * width :]
                    _product(model, new, d_start[c * n :], w[k], stay, arrive, dq[c * width :], 1)
                    _add_change(model, new, d_p[c * one :], d_p[c * one + n :], moves[c * model.groups :], q)
                _product(model, following, start, w[k], stay, arrive, q, 1)
                kept = q
                q = following
                following = kept
                kept = dq
                dq = d_following
                d_following = kept
            for c in range(changes):
                copy(out[c * n :], dq[c * width + m :], n)
        d_start = out
    release(moves)
    release(memory)


@native(inline=True, noalias=True)
def _add_two_products(one: Vector, other: Vector, a: Vector, b: Vector, x: Vector, n: int) -> None:
    for i in range(n):
        one[i] = one[i] + a[i] * x[i]
        other[i] = other[i] + b[i] * x[i]


@native
def _keep_some(model: Stencil, p: Vector, w: Vector, start: Vector, last: int, between: int, kept: Vector) -> None:
    """The sums q_k for k = last and all smaller multiples of `between` but 0; the j-th row is that of k = j between,
    or of the last."""
    n = model.states
    width = n + 2 * model.margin
    memory = allocate(2 * width)
    q = memory
    following = memory[width:]
    _scaled(q[model.margin :], w[last], start, n)
    row = (last + between - 1) // between
    copy(kept[row * width :], q, width)
    k = last
    while k > between:
        k -= 1
        _product(model, following, start, w[k], p, p[n:], q, 1)
        other = q
        q = following
        following = other
        if k % between == 0:
            copy(kept[k // between * width :], q, width)
    release(memory)


@native
def _forward_to(
    model: Stencil, p: Vector, w: Vector, start: Vector, q: Vector, top: int, bottom: int, rows: Vector
) -> None:
    """The sums q_k for bottom <= k <= top, in rows k - bottom, with margins; `q` is that of the top."""
    n = model.states
    width = n + 2 * model.margin
    copy(rows[(top - bottom) * width :], q, width)
    k = top
    while k > bottom:
        k -= 1
        before = rows[(k + 1 - bottom) * width :]
        _product(model, rows[(k - bottom) * width :], start, w[k], p, p[n:], before, 1)


@native
def adjoint(model: Stencil, call: Call, b: int) -> None:
    """Derivatives of `exponentials`, from those by the distribution after each.

    Operands: fixed, moving, mix, durations as for `exponentials`, the distribution before each (exponentials, states),
    derivatives by what is read after each (exponentials, states) and by what follows the last (states,), settings
    (terms, tail). Results: derivatives by `fixed`, by `moving` and by the distribution before the first (states,).
    """
    n = model.states
    m = model.margin
    width = n + 2 * m
    size = model.given * n
    fixed = operand(call, 0, b)
    moving = operand(call, 1, b)
    mix = operand(call, 2, b)
    durations = operand(call, 3, b)
    count = call.operand_sizes[3]
    nodes = call.operand_sizes[2] // count
    varied = nodes * model.count_moving * n
    starts = operand(call, 4, b)
    read = operand(call, 5, b)
    settings = operand(call, 7, b)
    terms = int(settings[0])
    fixed_bar = result(call, 0, b)
    moving_bar = result(call, 1, b)
    start_bar = result(call, 2, b)
    fill(fixed_bar, 0.0, size)
    fill(moving_bar, 0.0, count * varied)
    # every so many terms a distribution is kept, and those between two are computed again
    between = max(int(sqrt(float(terms))), min(terms, KEPT // width))
    memory = allocate((2 + 4 * model.groups) * n + 2 * width + terms + (between + terms // between + 2) * width)
    rates = memory
    stay = rates[model.groups * n :]
    arrive = stay[n:]
    leave = arrive[model.groups * n :]
    stay_bar = leave[model.groups * n :]
    leave_bar = stay_bar[n:]
    after = leave_bar[model.groups * n :]
    before = after[width:]
    w = before[width:]
    kept = w[terms:]
    stretch = kept[(terms // between + 2) * width :]
    copy(start_bar, operand(call, 6, b), n)
    for back in range(count):
        e = count - 1 - back
        start = starts[e * n :]
        for i in range(n):
            start_bar[i] = start_bar[i] + read[e * n + i]
        if durations[e] != 0.0:
            _mixed(model, fixed, moving[e * varied :], mix[e * nodes :], nodes, rates)
            largest = _jumps(model, rates, stay, leave)
            _arrive(model, leave, arrive)
            last = _poisson_weights(w, largest * durations[e], terms, settings[1])
            _keep_some(model, stay, w, start, last, between, kept)
            fill(stay_bar, 0.0, (1 + model.groups) * n)
            copy(after[m:], start_bar, n)
            _scaled(start_bar, w[0], start_bar, n)
            bottom = 0
            while bottom < last:
                top = min(bottom + between, last)
                _forward_to(model, stay, w, start, kept[(bottom // between + 1) * width :], top, bottom + 1, stretch)
                for k in range(bottom + 1, top + 1):
                    row = stretch[(k - bottom - 1) * width :]
                    _add_product(stay_bar, after[m:], row[m:], n)
                    for pair in range(model.groups // 2):
                        g = 2 * pair
                        bar = leave_bar[g * n :]
                        one = after[m + model.shifts[g] :]
                        other = after[m + model.shifts[g + 1] :]
                        _add_two_products(bar, bar[n:], one, other, row[m:], n)
                    _product(model, before, start, 0.0, stay, leave, after, -1)
                    kept_after = after
                    after = before
                    before = kept_after
                    _add_scaled(start_bar, w[k], after[m:], n)
                bottom = top
            for g in range(model.given):
                for i in range(n):
                    flow = model.inside[g * n + i] * leave_bar[g * n + i] - stay_bar[i]
                    rates[g * n + i] = flow / largest
            _add_scaled(fixed_bar, 1.0, rates, size)
            for node in range(nodes):
                for j in range(model.count_moving):
                    bar = moving_bar[e * varied + (node * model.count_moving + j) * n :]
                    _add_scaled(bar, mix[e * nodes + node], rates[model.moving[j] * n :], n)
    release(memory)
