"""The arrays of a group: what members of a batch that stand side by side have in common (`group`)."""

from ..language import (
    WIDTH,
    Indices,
    Vector,
    address,
    allocate,
    allocate_indices,
    allocate_record,
    as_record,
    as_vector,
    native,
    release,
)
from . import rodas5p
from .memory import take
from .records import Model, Step

# What a place is for in a round.
EMPTY, ALONE, EXPLICIT_STEP, IMPLICIT_STEP = 0, 1, 2, 3
# Bytes of a cache line.
LINE = 64
STAGES = rodas5p.STAGES
# Rows of n, and single rows, in the memory of a group.
ROWS_OF_STATES, SINGLE_ROWS = 13, 27


class Group(Step):
    """Arrays `(., WIDTH)` of the steps that are taken at once, and who stands where."""

    # (WIDTH,) each: tolerance, time and length of the step, first and last time of the right-hand side; then what is
    # found: 0 where the slopes are numbers, NaN elsewhere, an estimate of the fastest rate, and the error
    rtol: Vector
    t: Vector
    h: Vector
    first: Vector
    last: Vector
    sound: Vector
    fastest: Vector
    state_error: Vector
    # where residuals are wanted
    theta: Vector
    # 1 where steps of members may be kept together; then the fields of `Work` that follow are in arrays, too, and those
    # here are the newer ones where `moved` counts steps
    keeps_together: int
    # (n, WIDTH)
    zero_since: Vector
    troughs: Vector
    # slopes at the start of explicit steps
    slope: Vector
    # (WIDTH,): numbers of `Work`, those that are counts or truths as floats
    limit: Vector
    lands: Vector
    planned: Vector
    max_step: Vector
    next_output: Vector
    log_error: Vector
    rejected: Vector
    recent_step: Vector
    smooth_count: Vector
    size_limit: Vector
    automatic: Vector
    # (WIDTH,) found by `look`: 1 where nothing but the next step follows from a step, and where a state that was put to
    # zero is still there
    quiet: Vector
    lost: Vector
    # (WIDTH,) 1 where a step is kept together with others, and where its noise is measured
    moves: Vector
    measures: Vector
    # (WIDTH,) addresses of problems, what they are for, and at how many points their steps are checked
    problems: Indices
    kinds: Indices
    probes: Indices
    # (WIDTH,): 1 where the arrays hold the planned step; how many steps were kept together since; how many may be; 1
    # where a step is judged by itself
    given: Indices
    moved: Indices
    left: Indices
    heard: Indices
    memory: Vector


@native
def new_group(model: Model) -> Group:
    """A group without members."""
    group = allocate_record(Group)
    n = model.states
    x = 2 + 2 * n + model.parameters + model.conditions
    row = 1 + n + model.jacobian_count + n
    stages = 2 * STAGES * n
    numbers = x + model.scratch + ROWS_OF_STATES * n + row + stages + model.factor_size + SINGLE_ROWS
    memory = allocate(WIDTH * numbers + LINE // 8)
    used = allocate_indices(1)
    group.memory = memory
    # rows begin with a cache line
    free = as_vector(LINE * ((address(memory) + LINE - 1) // LINE))
    group.model = as_record(Model, model.wide)
    group.n = n
    group.x = take(free, used, WIDTH * x)
    group.scratch = take(free, used, WIDTH * model.scratch)
    group.y = take(free, used, WIDTH * n)
    group.new = take(free, used, WIDTH * n)
    group.error = take(free, used, WIDTH * n)
    group.scale = take(free, used, WIDTH * n)
    group.atol = take(free, used, WIDTH * n)
    group.noise = take(free, used, WIDTH * n)
    group.linear = take(free, used, WIDTH * row)
    group.f = group.linear[WIDTH:]
    group.jacobian = group.f[WIDTH * n :]
    group.slope_time = group.jacobian[WIDTH * model.jacobian_count :]
    group.stages = take(free, used, WIDTH * STAGES * n)
    group.arguments = take(free, used, WIDTH * STAGES * n)
    group.factors = take(free, used, WIDTH * model.factor_size)
    group.buffer = take(free, used, WIDTH * n)
    group.point = take(free, used, WIDTH * n)
    group.zero_since = take(free, used, WIDTH * n)
    group.troughs = take(free, used, WIDTH * n)
    group.slope = take(free, used, WIDTH * n)
    group.t = take(free, used, WIDTH)
    group.h = take(free, used, WIDTH)
    group.first = take(free, used, WIDTH)
    group.last = take(free, used, WIDTH)
    group.sound = take(free, used, WIDTH)
    group.fastest = take(free, used, WIDTH)
    group.theta = take(free, used, WIDTH)
    group.rtol = take(free, used, WIDTH)
    group.state_error = take(free, used, WIDTH)
    group.limit = take(free, used, WIDTH)
    group.lands = take(free, used, WIDTH)
    group.planned = take(free, used, WIDTH)
    group.max_step = take(free, used, WIDTH)
    group.next_output = take(free, used, WIDTH)
    group.log_error = take(free, used, WIDTH)
    group.rejected = take(free, used, WIDTH)
    group.recent_step = take(free, used, WIDTH)
    group.smooth_count = take(free, used, WIDTH)
    group.size_limit = take(free, used, WIDTH)
    group.automatic = take(free, used, WIDTH)
    group.quiet = take(free, used, WIDTH)
    group.lost = take(free, used, WIDTH)
    group.moves = take(free, used, WIDTH)
    group.measures = take(free, used, WIDTH)
    release(used)
    group.problems = allocate_indices(7 * WIDTH)
    group.kinds = group.problems[WIDTH:]
    group.probes = group.kinds[WIDTH:]
    group.given = group.probes[WIDTH:]
    group.moved = group.given[WIDTH:]
    group.left = group.moved[WIDTH:]
    group.heard = group.left[WIDTH:]
    # a right-hand side that uses the time is compared with every interpolant, and roots with every step
    group.keeps_together = 1 if model.uses_time == 0 and model.events + model.conditions == 0 else 0
    for place in range(WIDTH):
        # so that no place divides by zero
        group.h[place] = 1.0
    return group
