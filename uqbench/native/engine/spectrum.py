"""Eigenvalues of the Jacobian as far as rounding excites them, and bounds of them.

They are those of a Krylov space (Arnoldi 1951, doi:10.1090/qam/42792), all of them up to `DIMENSIONS` states, beyond
that the outermost or those near a shift. Before, the matrix is balanced (Osborne 1960, doi:10.1145/321043.321048), and
what couples in one direction alone, which has no part in its eigenvalues, left out.
"""

from ..language import Indices, Vector, copy, fill, isfinite, native, sqrt
from .hessenberg import DIMENSIONS, EPSILON
from .records import Work
from .sparse import factorize, substitute

# Of the space: all states where they are at most `DIMENSIONS`, else so many.
FEWER_DIMENSIONS = 8
SWEEPS = 3
# Powers by which the growth of errors is bounded, and the least part of a vector in them.
POWERS, LEAST_PART = 20, 1e-6
# A vector is made orthogonal a second time where less than this part of it is left.
SECOND = 0.1


@native(inline=True)
def room(n: int) -> int:
    """Numbers that the search needs: a basis and the matrix in it."""
    return (DIMENSIONS + 1) * n + DIMENSIONS * (DIMENSIONS + 2)


@native
def balance(work: Work) -> None:
    """The Jacobian, as far as it is coupled in both directions, in units that balance it, into `buffer`."""
    model = work.model
    n = work.n
    rows: Indices = model.jacobian_rows
    columns: Indices = model.jacobian_columns
    entries = work.buffer
    sums = work.growth_space
    out = sums[n:]
    for e in range(model.jacobian_count):
        entries[e] = work.jacobian[e] if model.jacobian_cyclic[e] == 1 else 0.0
    for _ in range(SWEEPS):
        fill(sums, 0.0, 2 * n)
        for e in range(model.jacobian_count):
            if rows[e] != columns[e]:
                sums[rows[e]] = sums[rows[e]] + abs(entries[e])
                out[columns[e]] = out[columns[e]] + abs(entries[e])
        for k in range(n):
            ratio = out[k] / sums[k]
            # all at once: half of what each alone would ask for
            sums[k] = sqrt(sqrt(ratio)) if ratio > 0.0 and isfinite(ratio) else 1.0
        for e in range(model.jacobian_count):
            entries[e] = entries[e] * (sums[rows[e]] / sums[columns[e]])


@native
def largest_sum(work: Work, signed: int) -> float:
    """Largest sum of sizes in a row, a bound of all rates; of the diagonal as it is where `signed`, of their growth.

    Gershgorin 1931.
    """
    rows: Indices = work.model.jacobian_rows
    columns: Indices = work.model.jacobian_columns
    sums = work.growth_space
    fill(sums, 0.0, work.n)
    for e in range(work.model.jacobian_count):
        value = work.buffer[e]
        if signed == 0 or rows[e] != columns[e]:
            value = abs(value)
        sums[rows[e]] = sums[rows[e]] + value
    largest = sums[0]
    for k in range(1, work.n):
        largest = max(largest, sums[k])
    return largest


@native
def bound_growth(work: Work, fastest: float) -> float:
    """A bound of the rate at which errors grow, >= 0.

    Signs of what couples are left out; then every positive vector v has its bound, the largest of (A v)_k / v_k
    (Collatz 1942, Wielandt 1950), and powers of A + `fastest` lead to the best one.
    """
    n = work.n
    model = work.model
    rows: Indices = model.jacobian_rows
    columns: Indices = model.jacobian_columns
    vector = work.growth_space
    product = vector[n:]
    fill(vector, 1.0, n)
    least = fastest
    for _ in range(POWERS):
        fill(product, 0.0, n)
        for e in range(model.jacobian_count):
            entry = work.buffer[e] if rows[e] == columns[e] else abs(work.buffer[e])
            product[rows[e]] = product[rows[e]] + entry * vector[columns[e]]
        bound = 0.0
        largest = 0.0
        for k in range(n):
            bound = max(bound, product[k] / vector[k])
            product[k] = product[k] + fastest * vector[k]
            largest = max(largest, product[k])
        least = min(least, bound)
        if not (largest > 0.0 and isfinite(largest)):
            break
        for k in range(n):
            vector[k] = max(product[k] / largest, LEAST_PART)
    return least


@native
def factorize_shifted(work: Work, entries: Vector, shift: float) -> None:
    """Factors of shift - J, into `factors`."""
    model = work.model
    fill(work.factors, 0.0, model.factor_size)
    for k in range(work.n):
        work.factors[k] = shift
    for e in range(model.jacobian_count):
        place = model.jacobian_places[e]
        work.factors[place] = work.factors[place] - entries[e]
    factorize(model, work.factors)


@native
def project(work: Work, shift: float, basis: Vector, matrix: Vector) -> int:
    """The Jacobian, or the inverse of `shift` - J, in an orthonormal basis of its Krylov space; the size of that.

    The space is that of the vector that is first in `basis`.
    """
    model = work.model
    n = work.n
    rows: Indices = model.jacobian_rows
    columns: Indices = model.jacobian_columns
    entries = work.buffer
    fill(matrix, 0.0, DIMENSIONS * DIMENSIONS)
    length = norm(basis, n)
    if length == 0.0:
        return 0
    for k in range(n):
        basis[k] = basis[k] / length
    size = n if n <= DIMENSIONS else FEWER_DIMENSIONS
    for j in range(size):
        vector = basis[j * n :]
        target = basis[(j + 1) * n :]
        if shift > 0.0:
            copy(target, vector, n)
            substitute(model, work.factors, target)
        else:
            fill(target, 0.0, n)
            for e in range(model.jacobian_count):
                target[rows[e]] = target[rows[e]] + entries[e] * vector[columns[e]]
        before = norm(target, n)
        orthogonalise(basis, target, n, j, matrix)
        left = norm(target, n)
        if left < SECOND * before:
            orthogonalise(basis, target, n, j, matrix)
            left = norm(target, n)
        if j + 1 == size:
            return size
        if not left > 100.0 * EPSILON * before:
            # the space is mapped to itself
            return j + 1
        matrix[(j + 1) * DIMENSIONS + j] = left
        for k in range(n):
            target[k] = target[k] / left
    return size


@native
def orthogonalise(basis: Vector, target: Vector, n: int, j: int, matrix: Vector) -> None:
    """Takes off `target` what lies in the vectors 0 to `j` of the basis; how much goes to column `j` of the matrix."""
    for i in range(j + 1):
        other = basis[i * n :]
        part = 0.0
        for k in range(n):
            part = part + other[k] * target[k]
        for k in range(n):
            target[k] = target[k] - part * other[k]
        matrix[i * DIMENSIONS + j] = matrix[i * DIMENSIONS + j] + part


@native
def norm(vector: Vector, n: int) -> float:
    """Euclidean length."""
    total = 0.0
    for k in range(n):
        total = total + vector[k] * vector[k]
    return sqrt(total)
