"""Machine code for exponentials of generators of one box, their tangents and their adjoint.

The same sums in the same order of terms as in `uniformisation`; a loop of compiled JAX takes longer to turn than a
product of a few hundred states takes here. A member of a batch is one call of `exponentials`, `tangents` or `adjoint`.
"""

from ..native.foreign_call import Call, operand, result
from ..native.language import Indices, Vector, allocate, allocate_indices, copy, fill, native, release, sqrt
from .stencil_code import (
    Stencil,
    add_product,
    add_scaled,
    arrive_from,
    generator,
    mixed,
    poisson_weights,
    product,
    scaled,
)

# Distributions that the adjoint keeps within an exponential, in numbers: 32 MB.
KEPT = 2**16


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
            moved = moving[e * varied :]
            largest = generator(model, fixed, moved, mix[e * nodes :], nodes, rates, stay, leave, arrive)
            last = poisson_weights(w, largest * durations[e], terms, settings[1])
            scaled(q[m:], w[last], start, n)
            k = last
            while k > 0:
                k -= 1
                product(model, following, start, w[k], stay, arrive, q, 1)
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
    add_product(out[m:], d_stay, q[m:], n)
    for g in range(model.given):
        if moves[g] != 0:
            add_product(out[m:], d_arrive[g * n :], q[m - model.shifts[g] :], n)


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
            moved = moving[e * varied :]
            largest = generator(model, fixed, moved, mix[e * nodes :], nodes, rates, stay, leave, arrive)
            last = poisson_weights(w, largest * durations[e], terms, settings[1])
            scaled(q[m:], w[last], start, n)
            for c in range(changes):
                d_moved = d_moving[(e * changes + c) * varied :]
                mixed(model, d_fixed[c * size :], d_moved, mix[e * nodes :], nodes, rates)
                _change_of_jumps(model, rates, largest, d_p[c * one :], leave)
                arrive_from(model, leave, d_p[c * one + n :])
                for g in range(model.given):
                    moves[c * model.groups + g] = _differs(d_p[c * one + (1 + g) * n :], n)
                scaled(dq[c * width + m :], w[last], d_start[c * n :], n)
            k = last
            while k > 0:
                k -= 1
                for c in range(changes):
                    new = d_following[c * width :]
                    product(model, new, d_start[c * n :], w[k], stay, arrive, dq[c * width :], 1)
                    _add_change(model, new, d_p[c * one :], d_p[c * one + n :], moves[c * model.groups :], q)
                product(model, following, start, w[k], stay, arrive, q, 1)
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
    scaled(q[model.margin :], w[last], start, n)
    row = (last + between - 1) // between
    copy(kept[row * width :], q, width)
    k = last
    while k > between:
        k -= 1
        product(model, following, start, w[k], p, p[n:], q, 1)
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
        product(model, rows[(k - bottom) * width :], start, w[k], p, p[n:], before, 1)


@native
def _back(
    model: Stencil,
    stay: Vector,
    leave: Vector,
    after: Vector,
    before: Vector,
    row: Vector,
    start: Vector,
    stay_bar: Vector,
    leave_bar: Vector,
) -> None:
    """One term: what P adds to its derivatives at the sum `row` (states,), and before = P' after, with margins."""
    n = model.states
    m = model.margin
    add_product(stay_bar, after[m:], row, n)
    for pair in range(model.groups // 2):
        g = 2 * pair
        bar = leave_bar[g * n :]
        _add_two_products(bar, bar[n:], after[m + model.shifts[g] :], after[m + model.shifts[g + 1] :], row, n)
    product(model, before, start, 0.0, stay, leave, after, -1)


@native
def _rates_from_jumps(model: Stencil, stay_bar: Vector, leave_bar: Vector, largest: float, rates_bar: Vector) -> None:
    """Derivatives by the rates (given, states) from those by the probabilities to stay and to leave."""
    n = model.states
    for g in range(model.given):
        for i in range(n):
            flow = model.inside[g * n + i] * leave_bar[g * n + i] - stay_bar[i]
            rates_bar[g * n + i] = flow / largest


@native
def _give_to_nodes(model: Stencil, rates_bar: Vector, mix: Vector, nodes: int, moving_bar: Vector) -> None:
    """The adjoint of `mixed`."""
    n = model.states
    for node in range(nodes):
        for j in range(model.count_moving):
            bar = moving_bar[(node * model.count_moving + j) * n :]
            add_scaled(bar, mix[node], rates_bar[model.moving[j] * n :], n)


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
            moved = moving[e * varied :]
            largest = generator(model, fixed, moved, mix[e * nodes :], nodes, rates, stay, leave, arrive)
            last = poisson_weights(w, largest * durations[e], terms, settings[1])
            _keep_some(model, stay, w, start, last, between, kept)
            fill(stay_bar, 0.0, (1 + model.groups) * n)
            copy(after[m:], start_bar, n)
            scaled(start_bar, w[0], start_bar, n)
            bottom = 0
            while bottom < last:
                top = min(bottom + between, last)
                _forward_to(model, stay, w, start, kept[(bottom // between + 1) * width :], top, bottom + 1, stretch)
                for k in range(bottom + 1, top + 1):
                    row = stretch[(k - bottom - 1) * width + m :]
                    _back(model, stay, leave, after, before, row, start, stay_bar, leave_bar)
                    kept_after = after
                    after = before
                    before = kept_after
                    add_scaled(start_bar, w[k], after[m:], n)
                bottom = top
            _rates_from_jumps(model, stay_bar, leave_bar, largest, rates)
            add_scaled(fixed_bar, 1.0, rates, size)
            _give_to_nodes(model, rates, mix[e * nodes :], nodes, moving_bar[e * varied :])
    release(memory)
