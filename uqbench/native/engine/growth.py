"""Whether errors grow, and whether steps pass over what grows: a fast mode that is unstable under a long implicit step.

An L-stable method damps every mode that is fast against its step, also those that grow. Where the fast part of a system
loses its stability on the way (a slow passage through a Hopf point), the solution leaves for another branch as soon as
rounding has grown to its size, but such steps stay on the branch that is no longer stable, and no error estimate of one
step sees it. So every few steps the eigenvalues of the Jacobian are looked at, as far as rounding excites them, and the
growth of those that implicit steps do not follow is summed up. The sum of all growth, a bound of what becomes of small
errors, says whether a finer solve has to confirm the values (`calls.confirm`).

The eigenvalues are those of a Krylov space (Arnoldi 1951, doi:10.1090/qam/42792), all of them up to `DIMENSIONS`
states. Beyond that one look finds the outermost or those near a shift, which goes through all magnitudes from look to
look; what is found has to be found a second time, near it. Before, the matrix is balanced (Osborne 1960,
doi:10.1145/321043.321048), and what couples in one direction alone, which has no part in its eigenvalues, left out.
"""

from ..language import Indices, Vector, copy, fill, isfinite, log, native, sqrt
from .evaluation import inside_step, linearise_at
from .records import Work
from .sparse import factorize, substitute

# Steps between two looks, before the first, and where steps pass over growth; one takes the time of three steps.
STEPS, FIRST_STEPS, AGAIN = 64, 16, 4
# Of the space: all states where they are few, else fewer.
DIMENSIONS, FEWER_DIMENSIONS = 12, 8
# |lambda| h from where on the method does not follow a mode but damps it.
UNFOLLOWED = 3.0
# Logarithm of the growth of rounding after which a solution has left: 1e-16 becomes 1e-5.
LOST = 25.0
# The same, of all errors, after which values are confirmed: 1e-6 has become 1e-3.
MAGNIFIED, OWN = 7.0, 7.0
# What an event or a condition may add to the growth: an impact turns a difference of times into one of speeds.
OF_CROSSING = 1.0
SWEEPS, TURNS = 3, 40
# Powers by which the growth of errors is bounded, and the least part of a vector in them.
POWERS, LEAST_PART = 20, 1e-6
# A vector is made orthogonal a second time where less than this part of it is left.
SECOND = 0.1
EPSILON = 2.220446049250313e-16
# Factor from one shift to the next, how far from a shift in its units eigenvalues are trusted, and how well two looks
# have to agree.
APART, NEAR, AGREEMENT = 30.0, 6.0, 0.2
# Part of the largest rate below which the sign of an eigenvalue is left to rounding.
UNDECIDED = 1e-10


@native(inline=True)
def room(n: int) -> int:
    """Numbers that the search needs: a basis and the matrix in it."""
    return (DIMENSIONS + 1) * n + DIMENSIONS * (DIMENSIONS + 2)


@native(inline=True)
def is_due(work: Work, steps: int) -> bool:
    """Whether to look after so many steps."""
    again = work.unfollowed_rate > 0.0 or work.rough == 1
    return steps % STEPS == 0 or steps == FIRST_STEPS or (again and steps % AGAIN == 0)


@native
def watch(work: Work, h: float) -> int:
    """After the step `h` to the present point: 1 where unresolved modes have grown to the size of the solution."""
    passed = work.t - work.growth_time
    before = work.growth_rate
    before_unfollowed = work.unfollowed_rate
    before_bound = work.growth_bound_rate
    work.growth_time = work.t
    look(work, h)
    work.growth = work.growth + 0.5 * (work.growth_rate + before) * passed
    work.growth_bound = work.growth_bound + 0.5 * (work.growth_bound_rate + before_bound) * passed
    # what grows at one look only may have begun just before it
    if work.unfollowed_rate == 0.0:
        work.unfollowed_growth = 0.0
    work.unfollowed_growth = work.unfollowed_growth + min(work.unfollowed_rate, before_unfollowed) * passed
    return 1 if work.unfollowed_growth > LOST else 0


@native
def is_magnified(work: Work, initial: Vector) -> int:
    """Whether small errors may have become large ones, relative to states that have grown themselves.

    What grows by a factor without more carries its relative error along; more than `OWN` of that is not counted.
    """
    if work.model.delays > 0:
        # the growth that comes from the past is not looked at
        return 1
    own = 0.0
    for k in range(work.n):
        size = abs(initial[k])
        if size > 0.0 and isfinite(work.scale[k]):
            own = max(own, log(work.scale[k] / size))
    return 1 if work.growth - min(own, OWN) > MAGNIFIED else 0


@native(inline=True)
def forget_unfollowed(work: Work) -> None:
    """After an explicit step, which follows everything."""
    work.unfollowed_rate = 0.0
    work.unfollowed_growth = 0.0


@native(inline=True)
def forget(work: Work) -> None:
    """After a jump."""
    work.growth_time = work.t
    work.growth_rate = 0.0
    forget_unfollowed(work)


@native
def look(work: Work, h: float) -> None:
    """Finds `growth_rate` and `unfollowed_rate`: largest real parts of the eigenvalues, 0 where none grows.

    The second is of those that implicit steps `h` do not follow.
    """
    n = work.n
    work.growth_rate = 0.0
    work.unfollowed_rate = 0.0
    linearise_at(work, inside_step(work, work.t), work.y)
    balance(work)
    fastest = largest_sum(work, 0)
    work.growth_bound_rate = bound_growth(work, fastest) if work.rough == 1 else 0.0
    if largest_sum(work, 1) * (work.end - work.start) < MAGNIFIED:
        return
    if n <= DIMENSIONS:
        search(work, h, 0.0)
        return
    search(work, h, work.growth_shift)
    if work.unfollowed_rate > 0.0:
        # a part of a space shows eigenvalues, and what only looks like one: that one is gone in another space
        rate = work.unfollowed_rate
        search(work, h, work.growth_modulus)
        if not abs(work.unfollowed_rate - rate) <= AGREEMENT * rate:
            work.unfollowed_rate = 0.0
        return
    work.growth_shift = work.growth_shift * APART if work.growth_shift > 0.0 else APART * UNFOLLOWED / h
    if work.growth_shift > fastest:
        work.growth_shift = 0.0


@native
def search(work: Work, h: float, shift: float) -> None:
    """As `look`, among the outermost eigenvalues or those near a `shift` > 0; the modulus of what is found is kept."""
    n = work.n
    basis = work.growth_space
    matrix = basis[(DIMENSIONS + 1) * n :]
    values = matrix[DIMENSIONS * DIMENSIONS :]
    for k in range(n):
        # what is zero, and has a rate without terms, stays so
        sign = 1.0 if k % 2 == 0 else -1.0
        basis[k] = sign * (1.0 + 0.37 * float(k % 7)) if work.y[k] != 0.0 or work.noise[k] != 0.0 else 0.0
    if shift > 0.0:
        factorize_shifted(work, work.buffer, shift)
    size = project(work, shift, basis, matrix)
    largest = 0.0
    for k in range(size * DIMENSIONS):
        largest = max(largest, abs(matrix[k]))
    work.growth_rate = 0.0
    work.unfollowed_rate = 0.0
    if eigenvalues(matrix, size, values) == 0:
        return
    for k in range(size):
        real = values[2 * k]
        imaginary = values[2 * k + 1]
        undecided = UNDECIDED * largest
        if shift > 0.0:
            # of the inverse of shift - J
            square = real * real + imaginary * imaginary
            real = shift - real / square
            imaginary = imaginary / square
            undecided = 0.0
            if not square * shift * shift * NEAR * NEAR > 1.0:
                real = 0.0
        modulus = sqrt(real * real + imaginary * imaginary)
        if real > undecided:
            work.growth_rate = max(work.growth_rate, real)
            if modulus * h >= UNFOLLOWED and real > work.unfollowed_rate and work.step_implicit == 1:
                work.unfollowed_rate = real
                work.growth_modulus = modulus


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
