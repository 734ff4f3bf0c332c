"""Eigenvalues of small matrices in upper Hessenberg form, by double steps of the QR algorithm.

Francis 1962, doi:10.1093/comjnl/4.4.332.
"""

from ..language import Vector, isfinite, native, sqrt

# Rows of a matrix are so far apart; it has at most as many.
DIMENSIONS = 12
# Steps for one eigenvalue.
TURNS = 40
EPSILON = 2.220446049250313e-16


@native
def eigenvalues(matrix: Vector, size: int, values: Vector) -> int:
    """Real and imaginary parts `(size, 2)` of an upper Hessenberg matrix, which is lost; 0 where they are not found.

    Double steps of the QR algorithm (Francis 1962, doi:10.1093/comjnl/4.4.332). Rows are `DIMENSIONS` apart.
    """
    largest = 0.0
    for i in range(size):
        for j in range(size):
            largest = max(largest, abs(matrix[i * DIMENSIONS + j]))
    if not isfinite(largest):
        return 0
    last = size - 1
    turns = 0
    while last >= 0:
        first = last
        while first > 0:
            beside = (first - 1) * (DIMENSIONS + 1)
            neighbours = abs(matrix[beside]) + abs(matrix[beside + DIMENSIONS + 1])
            if abs(matrix[beside + DIMENSIONS]) <= EPSILON * (neighbours if neighbours > 0.0 else largest):
                break
            first = first - 1
        corner = last * (DIMENSIONS + 1)
        if first == last:
            values[2 * last] = matrix[corner]
            values[2 * last + 1] = 0.0
            last = last - 1
            turns = 0
            continue
        before = corner - DIMENSIONS - 1
        trace = matrix[before] + matrix[corner]
        product = matrix[before] * matrix[corner] - matrix[before + 1] * matrix[corner - 1]
        if first == last - 1:
            half = 0.5 * trace
            # without the cancellation of trace^2 / 4 - product
            apart = 0.5 * (matrix[before] - matrix[corner])
            split = apart * apart + matrix[before + 1] * matrix[corner - 1]
            real_part = sqrt(split) if split > 0.0 else 0.0
            values[2 * last] = half - real_part
            values[2 * last - 2] = half + real_part
            values[2 * last - 1] = sqrt(-split) if split < 0.0 else 0.0
            values[2 * last + 1] = -values[2 * last - 1]
            last = last - 2
            turns = 0
            continue
        if turns == TURNS:
            return 0
        turns += 1
        if turns % 10 == 0:
            # a shift out of turn, where the usual ones go round in circles
            away = abs(matrix[corner - 1]) + abs(matrix[before - 1])
            trace = 1.5 * away
            product = away * away
        turn(matrix, first, last, trace, product)
    return 1


@native
def turn(matrix: Vector, first: int, last: int, trace: float, product: float) -> None:
    """One double step on rows and columns `first` to `last`, shifted by the roots of x^2 - trace x + product."""
    corner = first * (DIMENSIONS + 1)
    a = matrix[corner]
    below = matrix[corner + DIMENSIONS]
    next_corner = matrix[corner + DIMENSIONS + 1]
    x = a * a + matrix[corner + 1] * below - trace * a + product
    y = below * (a + next_corner - trace)
    z = below * matrix[corner + 2 * DIMENSIONS + 1]
    for k in range(first, last):
        count = 3 if k < last - 1 else 2
        if count == 2:
            z = 0.0
        reflect(matrix, first, last, k, count, x, y, z)
        if k < last - 1:
            x = matrix[(k + 1) * DIMENSIONS + k]
            y = matrix[(k + 2) * DIMENSIONS + k]
            z = matrix[(k + 3) * DIMENSIONS + k] if k < last - 2 else 0.0


@native
def reflect(matrix: Vector, first: int, last: int, k: int, count: int, x: float, y: float, z: float) -> None:
    """A reflection of rows and columns from `k` on, that makes (x, y, z) a multiple of the first unit vector."""
    length = sqrt(x * x + y * y + z * z)
    if not length > 0.0:
        return
    v0 = x + length if x >= 0.0 else x - length
    scaling = 2.0 / (v0 * v0 + y * y + z * z)
    for j in range(max(first, k - 1), last + 1):
        place = k * DIMENSIONS + j
        total = v0 * matrix[place] + y * matrix[place + DIMENSIONS]
        if count == 3:
            total = total + z * matrix[place + 2 * DIMENSIONS]
        total = scaling * total
        matrix[place] = matrix[place] - total * v0
        matrix[place + DIMENSIONS] = matrix[place + DIMENSIONS] - total * y
        if count == 3:
            matrix[place + 2 * DIMENSIONS] = matrix[place + 2 * DIMENSIONS] - total * z
    for i in range(first, min(k + 3, last) + 1):
        place = i * DIMENSIONS + k
        total = v0 * matrix[place] + y * matrix[place + 1]
        if count == 3:
            total = total + z * matrix[place + 2]
        total = scaling * total
        matrix[place] = matrix[place] - total * v0
        matrix[place + 1] = matrix[place + 1] - total * y
        if count == 3:
            matrix[place + 2] = matrix[place + 2] - total * z
