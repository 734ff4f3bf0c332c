"""Sizes of states that grow from zero, by a rough solve beforehand.

A state that starts at an exact zero has no size to which its error could be relative but its own value. Where many are
fed one by another, as on a grid on which something spreads from one end, thousands of steps would resolve values of
1e-200 to eight digits. So after `member.PATIENCE` steps a solve in which there still are such states waits for a rough
one, which says how large they become; the smallest part of that (`tolerance.FLOOR`, as of what has been large already)
is their absolute tolerance from there on.

Small errors of a state that grows by itself matter at last. The rough solve looks at the Jacobian, too: by the integral
of its logarithmic norm (Dahlquist 1959; rows, in units that balance it) any error may have grown at most, and the
tolerance is smaller by as much.

What has hardly begun to grow at the end may still be missed, since an explicit step carries nothing further than its
stages: where outputs have other sizes than by the rough solve, which follows all values, the problem is solved without.
"""

from math import log

from ..language import Vector, allocate, copy, exp, fill, is_null, native, release
from . import member, tolerance
from .codes import SUCCESS
from .given import Given, same_problem
from .problem import Problem, close_problem, open_problem
from .records import REPORT, SETTINGS, Model

# Relative tolerance of a rough solve.
ROUGH = 1e-2
# Logarithm of the growth after which an error as small as the floor allows is still 1e-3 of the tolerance.
HARMLESS = log(1e-3 / tolerance.FLOOR)
LEAST = 1e-280
# Factor by which the size of an output may differ from that of a rough solve.
MISSED = 1e3


@native
def advance(model: Model, problem: Problem) -> None:
    """Goes on to the end of a problem, with sizes where it waits for them."""
    member.integrate(problem.work)
    if problem.work.code == member.WAITING:
        give_sizes(model, problem)
        member.integrate(problem.work)


@native
def give_sizes(model: Model, problem: Problem) -> None:
    """Absolute tolerances for states that started at zero, where a rough solve comes to its end."""
    work = problem.work
    work.code = member.RUNNING
    n = model.states
    sizes = allocate(n)
    growth = solve_roughly(model, problem.given, sizes)
    if growth >= 0.0:
        share = tolerance.FLOOR * work.rtol * exp(min(0.0, HARMLESS - growth))
        problem.own_atol = allocate(n)
        copy(problem.own_atol, work.atol, n)
        work.atol = problem.own_atol
        for k in range(n):
            if work.atol[k] == 0.0 and problem.given.initial[k] == 0.0 and share * sizes[k] > LEAST:
                work.atol[k] = -share * sizes[k]
    release(sizes)


@native
def missed(model: Model, given: Given) -> bool:
    """Whether outputs have other sizes than the rough solve has found, where there was one; its outputs are forgotten.

    Of problems that could be solved.
    """
    if is_null(given.rough_outputs):
        return False
    differs = False
    sizes = allocate(model.outputs)
    measure_outputs(model, given, sizes)
    for j in range(model.outputs):
        least = min(sizes[j], given.rough_outputs[j])
        larger = max(sizes[j], given.rough_outputs[j])
        if larger > LEAST and least * MISSED < larger:
            differs = True
    release(sizes)
    release(given.rough_outputs)
    given.rough_outputs = None
    return differs and int(given.report[0]) == SUCCESS


@native
def measure_outputs(model: Model, given: Given, sizes: Vector) -> None:
    """Largest value of each output, into `sizes (outputs,)`."""
    fill(sizes, 0.0, model.outputs)
    for k in range(given.time_count):
        for j in range(model.outputs):
            sizes[j] = max(sizes[j], abs(given.rows[k * model.outputs + j]))


@native
def solve_roughly(model: Model, given: Given, sizes: Vector) -> float:
    """Largest values `(n,)` of the states, into `sizes`; the bound of the growth of errors, or -1 where it failed."""
    rough = same_problem(given)
    rough.rough = 1
    rough.floor = tolerance.FLOOR
    rough.scales = sizes
    rough.settings = allocate(SETTINGS)
    copy(rough.settings, given.settings, SETTINGS)
    rough.settings[1] = max(ROUGH, given.settings[1])
    rough.rows = allocate(given.time_count * model.outputs)
    rough.report = allocate(REPORT + model.states + 2)
    problem = open_problem(model, rough)
    member.integrate(problem.work)
    growth = problem.work.growth_bound if problem.work.code == SUCCESS else -1.0
    close_problem(problem)
    # outputs of a solve that confirms another one are compared with those of that one
    if growth >= 0.0 and given.confirming == 0:
        given.rough_outputs = allocate(model.outputs)
        measure_outputs(model, rough, given.rough_outputs)
    release(rough.settings)
    release(rough.rows)
    release(rough.report)
    release(rough)
    return growth
