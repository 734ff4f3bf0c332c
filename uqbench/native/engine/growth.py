"""Whether errors grow, and whether steps pass over what grows: a fast mode that is unstable under a long implicit step.

An L-stable method damps every mode that is fast against its step, also those that grow. Where the fast part of a system
loses its stability on the way (a slow passage through a Hopf point), the solution leaves for another branch as soon as
rounding has grown to its size, but such steps stay on the branch that is no longer stable, and no error estimate of one
step sees it. So every few steps the eigenvalues of the Jacobian are looked at (`spectrum`), and the growth of those
that implicit steps do not follow is summed up. The sum of all growth, a bound of what becomes of small errors, says
whether a finer solve has to confirm the values (`confirming`).

Beyond `DIMENSIONS` states one look finds the outermost eigenvalues or those near a shift, which goes through all
magnitudes from look to look; what is found has to be found a second time, near it.
"""

from ..language import Vector, isfinite, log, native, sqrt
from .evaluation import inside_step, linearise_at
from .hessenberg import DIMENSIONS, eigenvalues
from .records import Work
from .spectrum import balance, bound_growth, factorize_shifted, largest_sum, project

# Steps between two looks, before the first, and where steps pass over growth; one takes the time of three steps.
STEPS, FIRST_STEPS, AGAIN = 64, 16, 4
# |lambda| h from where on the method does not follow a mode but damps it.
UNFOLLOWED = 3.0
# Logarithm of the growth of rounding after which a solution has left: 1e-16 becomes 1e-5.
LOST = 25.0
# The same, of all errors, after which values are confirmed: 1e-6 has become 1e-3.
MAGNIFIED, OWN = 7.0, 7.0
# What an event or a condition may add to the growth: an impact turns a difference of times into one of speeds.
OF_CROSSING = 1.0
# Factor from one shift to the next, how far from a shift in its units eigenvalues are trusted, and how well two looks
# have to agree.
APART, NEAR, AGREEMENT = 30.0, 6.0, 0.2
# Part of the largest rate below which the sign of an eigenvalue is left to rounding.
UNDECIDED = 1e-10


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
