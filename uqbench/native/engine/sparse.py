"""Sparse linear algebra by lists of positions: the order of elimination is found once for each model on the host.

Pivots are those of the diagonal, in an order of little fill (Markowitz 1957, doi:10.1287/mnsc.3.3.255), without
numerical pivoting: the matrix is I / (gamma h) - J, whose diagonal a shorter step makes as large as need be.
"""

from ..language import Indices, Vector, isfinite, native
from .records import Model


@native
def factorize(model: Model, w: Vector) -> None:
    """Factors L D U in place, triangles of unit diagonal; D is stored inverted.

    So a substitution waits for one operation from entry to entry, not for a product with the pivot as well.
    """
    order: Indices = model.order
    lower_starts: Indices = model.lower_starts
    lower_places: Indices = model.lower_places
    upper_starts: Indices = model.upper_starts
    upper_places: Indices = model.upper_places
    updates: Indices = model.updates
    q = 0
    for s in range(model.states):
        k = order[s]
        inverse = 1.0 / w[k]
        w[k] = inverse
        for x in range(lower_starts[s], lower_starts[s + 1]):
            factor = w[lower_places[x]] * inverse
            w[lower_places[x]] = factor
            for z in range(upper_starts[s], upper_starts[s + 1]):
                w[updates[q]] = w[updates[q]] - factor * w[upper_places[z]]
                q += 1
        for z in range(upper_starts[s], upper_starts[s + 1]):
            w[upper_places[z]] = w[upper_places[z]] * inverse


@native
def substitute(model: Model, w: Vector, x: Vector) -> None:
    """Solves for one right side `(n,)` in place."""
    order: Indices = model.order
    lower_starts: Indices = model.lower_starts
    lower_rows: Indices = model.lower_rows
    lower_places: Indices = model.lower_places
    upper_starts: Indices = model.upper_starts
    upper_columns: Indices = model.upper_columns
    upper_places: Indices = model.upper_places
    n = model.states
    for s in range(n):
        value = x[order[s]]
        for z in range(lower_starts[s], lower_starts[s + 1]):
            x[lower_rows[z]] = x[lower_rows[z]] - w[lower_places[z]] * value
    for back in range(n):
        s = n - 1 - back
        k = order[s]
        value = x[k] * w[k]
        for z in range(upper_starts[s], upper_starts[s + 1]):
            value = value - w[upper_places[z]] * x[upper_columns[z]]
        x[k] = value


@native
def substitute_columns(model: Model, w: Vector, x: Vector, p: int) -> None:
    """Solves for `p` right sides `(n, p)` in place."""
    order: Indices = model.order
    lower_starts: Indices = model.lower_starts
    lower_rows: Indices = model.lower_rows
    lower_places: Indices = model.lower_places
    upper_starts: Indices = model.upper_starts
    upper_columns: Indices = model.upper_columns
    upper_places: Indices = model.upper_places
    n = model.states
    for s in range(n):
        source = x[order[s] * p :]
        for z in range(lower_starts[s], lower_starts[s + 1]):
            add_scaled(x[lower_rows[z] * p :], -w[lower_places[z]], source, p)
    for back in range(n):
        s = n - 1 - back
        target = x[order[s] * p :]
        pivot = w[order[s]]
        for c in range(p):
            target[c] = target[c] * pivot
        for z in range(upper_starts[s], upper_starts[s + 1]):
            add_scaled(target, -w[upper_places[z]], x[upper_columns[z] * p :], p)


@native
def substitute_transposed(model: Model, w: Vector, x: Vector, p: int) -> None:
    """Solves with the transposed matrix for `p` right sides `(n, p)` in place."""
    order: Indices = model.order
    lower_starts: Indices = model.lower_starts
    lower_rows: Indices = model.lower_rows
    lower_places: Indices = model.lower_places
    upper_starts: Indices = model.upper_starts
    upper_columns: Indices = model.upper_columns
    upper_places: Indices = model.upper_places
    n = model.states
    for s in range(n):
        source = x[order[s] * p :]
        for z in range(upper_starts[s], upper_starts[s + 1]):
            add_scaled(x[upper_columns[z] * p :], -w[upper_places[z]], source, p)
        pivot = w[order[s]]
        for c in range(p):
            source[c] = source[c] * pivot
    for back in range(n):
        s = n - 1 - back
        target = x[order[s] * p :]
        for z in range(lower_starts[s], lower_starts[s + 1]):
            add_scaled(target, -w[lower_places[z]], x[lower_rows[z] * p :], p)


@native(inline=True, noalias=True)
def combine(target: Vector, base: Vector, factor: float, row: Vector, vectors: Vector, count: int, size: int) -> None:
    """target = base + factor sum_j row_j vectors_j, in one pass; vectors of `size`, one after the other.

    Called with a constant `count`, so that the inner loop is unrolled and the outer one runs in vector registers.
    """
    for k in range(size):
        value = 0.0
        for j in range(count):
            value = value + row[j] * vectors[j * size + k]
        target[k] = base[k] + factor * value


@native(inline=True, noalias=("row", "vectors"))
def add_combined(target: Vector, factor: float, row: Vector, vectors: Vector, count: int, size: int) -> None:
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
