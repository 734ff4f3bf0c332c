"""Sparse linear algebra by lists of positions: the order of elimination is found once for each model on the host.

Pivots are those of the diagonal, in an order of little fill (Markowitz 1957, doi:10.1287/mnsc.3.3.255), without
numerical pivoting: the matrix is I / (gamma h) - J, whose diagonal a shorter step makes as large as need be.
"""

from ..language import Indices, Table, Vector, is_null, is_wide, isfinite, native
from .records import Model


@native
def factorize(model: Model, w: Vector) -> None:
    """Factors L D U in place, triangles of unit diagonal; D is stored inverted.

    So a substitution waits for one operation from entry to entry, not for a product with the pivot as well.
    """
    n = model.states
    order: Indices = model.order
    lower_starts: Indices = model.lower_starts
    update_starts: Indices = model.update_starts
    updates: Indices = model.updates
    update_lower: Indices = model.update_lower
    update_upper: Indices = model.update_upper
    lower = w[n:]
    for s in range(n):
        k = order[s]
        inverse = 1.0 / w[k]
        w[k] = inverse
        for e in range(lower_starts[s], lower_starts[s + 1]):
            lower[e] = lower[e] * inverse
        for q in range(update_starts[s], update_starts[s + 1]):
            w[updates[q]] = w[updates[q]] - w[update_lower[q]] * w[update_upper[q]]
    upper = lower[model.lower_count :]
    for e in range(model.upper_count):
        upper[e] = upper[e] * w[model.upper_rows[e]]


@native
def substitute(model: Model, w: Vector, x: Vector) -> None:
    """Solves for one right side `(n,)` in place.

    Each triangle is one list of entries: a loop within a loop, of a few turns each, would have a processor guess where
    it ends.
    """
    if is_wide() and not is_null(model.substitution):
        model.substitution(w, x, w)
        return
    n = model.states
    rows: Indices = model.lower_rows
    sources: Indices = model.lower_sources
    lower = w[n:]
    for e in range(model.lower_count):
        x[rows[e]] = x[rows[e]] - lower[e] * x[sources[e]]
    for k in range(n):
        x[k] = x[k] * w[k]
    rows = model.upper_rows
    sources = model.upper_sources
    upper = lower[model.lower_count :]
    for e in range(model.upper_count):
        x[rows[e]] = x[rows[e]] - upper[e] * x[sources[e]]


@native
def substitute_columns(model: Model, w: Vector, x: Vector, p: int) -> None:
    """Solves for `p` right sides `(n, p)` in place."""
    n = model.states
    lower = w[n:]
    upper = lower[model.lower_count :]
    for e in range(model.lower_count):
        add_scaled(x[model.lower_rows[e] * p :], -lower[e], x[model.lower_sources[e] * p :], p)
    scale_rows(w, x, n, p)
    for e in range(model.upper_count):
        add_scaled(x[model.upper_rows[e] * p :], -upper[e], x[model.upper_sources[e] * p :], p)


@native
def substitute_transposed(model: Model, w: Vector, x: Vector, p: int) -> None:
    """Solves with the transposed matrix for `p` right sides `(n, p)` in place."""
    n = model.states
    lower = w[n:]
    upper = lower[model.lower_count :]
    for back in range(model.upper_count):
        e = model.upper_count - 1 - back
        add_scaled(x[model.upper_sources[e] * p :], -upper[e], x[model.upper_rows[e] * p :], p)
    scale_rows(w, x, n, p)
    for back in range(model.lower_count):
        e = model.lower_count - 1 - back
        add_scaled(x[model.lower_sources[e] * p :], -lower[e], x[model.lower_rows[e] * p :], p)


@native(inline=True)
def scale_rows(factors: Vector, x: Vector, n: int, p: int) -> None:
    """Rows of `x (n, p)` times `factors (n,)`."""
    for k in range(n):
        row = x[k * p :]
        for c in range(p):
            row[c] = row[c] * factors[k]


@native(inline=True, noalias=True)
def combine(target: Vector, base: Vector, factor: float, row: Table, vectors: Vector, count: int, size: int) -> None:
    """target = base + factor sum_j row_j vectors_j, in one pass; vectors of `size`, one after the other.

    Called with a constant `count`, so that the inner loop is unrolled and the outer one runs in vector registers.
    """
    for k in range(size):
        value = 0.0
        for j in range(count):
            value = value + row[j] * vectors[j * size + k]
        target[k] = base[k] + factor * value


@native(inline=True, noalias=("row", "vectors"))
def add_combined(target: Vector, factor: float, row: Table, vectors: Vector, count: int, size: int) -> None:
    """target += factor sum_j row_j vectors_j, in one pass."""
    for k in range(size):
        value = 0.0
        for j in range(count):
            value = value + row[j] * vectors[j * size + k]
        target[k] = target[k] + factor * value


@native(inline=True, noalias=True)
def add_scaled(target: Vector, factor: float, source: Vector, p: int) -> None:
    """target += factor * source, rows of `p`."""
    for c in range(p):
        target[c] = target[c] + factor * source[c]


@native
def add_products(
    target: Vector,
    values: Vector,
    rows: Indices,
    columns: Indices,
    count: int,
    n: int,
    s: Vector,
    p: int,
    past: Vector,
    directions: int,
) -> None:
    """target += M [S; I; Z]: entries of `M (., n + directions + 2 d)` act on states through `s (n, p)`, on directions
    directly, and on what `d` delays see through `past (2 d, p)`.

    A slope that is infinite (x^.8 at zero) makes nothing of a state that does not move.
    """
    for e in range(count):
        column = columns[e]
        row = target[rows[e] * p :]
        if column < n:
            if isfinite(values[e]) or not vanishes(s[column * p :], p):
                add_scaled(row, values[e], s[column * p :], p)
        elif column >= n + directions:
            add_scaled(row, values[e], past[(column - n - directions) * p :], p)
        else:
            row[column - n] = row[column - n] + values[e]


@native
def vanishes(values: Vector, count: int) -> bool:
    """Whether all are zero."""
    total = 0.0
    for k in range(count):
        total = max(total, abs(values[k]))
    return total == 0.0


@native
def add_transposed(
    states: Vector,
    directions: Vector,
    values: Vector,
    rows: Indices,
    columns: Indices,
    count: int,
    n: int,
    v: Vector,
    p: int,
) -> None:
    """The transpose of `add_products`: states `(n, p)` and directions `(., p)` += M^T v, with `v (., p)`."""
    for e in range(count):
        column = columns[e]
        if column < n:
            add_scaled(states[column * p :], values[e], v[rows[e] * p :], p)
        else:
            add_scaled(directions[(column - n) * p :], values[e], v[rows[e] * p :], p)
