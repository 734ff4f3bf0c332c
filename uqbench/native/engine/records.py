"""What the engine is given and what it works with: records of numbers and pointers.

The argument `x` of every kernel is one row: time, states (n), parameters and inputs (m), modes of the conditions (c),
and for the second derivative a direction of the states (n) and of time (1).
"""

from ..language import Indices, Kernel, Record, Vector

# Numbers in the last operand of a call: start, rtol, max_step, max_steps, method, part of a time within which times
# are one.
SETTINGS = 6
AUTO, EXPLICIT, IMPLICIT = 0, 1, 2
# Numbers that a solve reports before its last state `(n,)`: code, steps, accepted explicit and implicit steps, time
# reached.
REPORT = 5


class Model(Record):
    """Kernels of one model, with the positions of their sparse results (`uqbench.kernels`)."""

    settings: int
    busy: Indices
    share: int
    wide: int
    side_by_side: int
    make_wide: int
    states: int
    parameters: int
    directions: int
    outputs: int
    events: int
    conditions: int
    switches: int
    uses_time: int
    unlocated: int
    scratch: int
    # of a wide record alone, null where the elimination is long: the factors of the row `Step.linear`; a substitution
    factors: Kernel
    substitution: Kernel
    rate: Kernel
    linearise: Kernel
    variation: Kernel
    curvature: Kernel
    rounding: Kernel
    observe: Kernel
    observe_variation: Kernel
    roots: Kernel
    roots_variation: Kernel
    modes: Kernel
    change: Kernel
    change_variation: Kernel
    switch_times: Kernel
    switch_variation: Kernel
    # null where the rates are not affine in few states, with constant coefficients (`compartments`)
    coefficients: Kernel
    coefficients_variation: Kernel
    delay_times: Kernel
    delay_variation: Kernel
    history: Kernel
    history_variation: Kernel
    observes: int
    # event -> 1 rising, -1 falling, 0 both
    event_directions: Indices
    # direction -> its place among parameters and inputs
    direction_parameters: Indices
    # df/dy
    jacobian_count: int
    jacobian_rows: Indices
    jacobian_columns: Indices
    jacobian_places: Indices
    # 1 where the two states depend on each other, by whatever way
    jacobian_cyclic: Indices
    # df/dq in the active directions
    forcing_count: int
    forcing_rows: Indices
    forcing_columns: Indices
    # d(J u + f_t u_t) by states and active directions
    curvature_count: int
    curvature_rows: Indices
    curvature_columns: Indices
    observe_count: int
    observe_rows: Indices
    observe_columns: Indices
    roots_count: int
    roots_rows: Indices
    roots_columns: Indices
    change_count: int
    change_rows: Indices
    change_columns: Indices
    switch_count: int
    switch_rows: Indices
    switch_columns: Indices
    # d(coefficients) by directions
    coefficients_count: int
    coefficients_rows: Indices
    coefficients_columns: Indices
    # how many delays; the state that each of them reads; the last 2 d parameters are what they see (`past`)
    delays: int
    delayed_states: Indices
    delay_count: int
    delay_rows: Indices
    delay_columns: Indices
    history_count: int
    history_rows: Indices
    history_columns: Indices
    # elimination without numerical pivoting, see `sparse`
    factor_size: int
    order: Indices
    lower_starts: Indices
    lower_count: int
    lower_rows: Indices
    lower_sources: Indices
    upper_count: int
    upper_rows: Indices
    upper_sources: Indices
    update_starts: Indices
    updates: Indices
    update_lower: Indices
    update_upper: Indices


class Tape(Record):
    """What happened in a solve, for its adjoint (`tape`): numbers that grow as steps are accepted."""

    values: Vector
    used: int
    capacity: int
    # 1 where there was no memory
    failed: int
    longest: float


class Past(Record):
    """What delays look back to: `d` delays, `n` states, `p` directions (`past`)."""

    # (d,), (d, p), (n,), (n, p)
    lengths: Vector
    lengths_d: Vector
    initial: Vector
    initial_d: Vector
    # delayed states and their rates (2 d,)
    values: Vector
    buffer: Vector
    # (n,) the state that is in `x` while the history is asked
    present: Vector
    # accepted steps: begin, length, polynomials (5,) of the delayed states, and of their sensitivities
    record: Vector
    width: int
    used: int
    capacity: int


class Step(Record):
    """What a step of either method reads and writes: of one problem, or of `WIDTH` of them side by side (`group`)."""

    model: Model
    n: int
    # kernels; 1 where conditions are decided wherever the right-hand side is evaluated
    x: Vector
    scratch: Vector
    live: int
    # state before and after, and the largest so far
    y: Vector
    new: Vector
    error: Vector
    scale: Vector
    # absolute tolerances, 0 where automatic, negative where a rough solve gives them (`sizes`); what a rate is known to
    atol: Vector
    noise: Vector
    # stages: increments (Rodas5P) or slopes (Tsit5), and the arguments of the right-hand side
    stages: Vector
    arguments: Vector
    # 1 where the arguments of all stages are kept: for derivatives of the step
    keeps_arguments: int
    # one row: right-hand side, Jacobian and slope in time at the start; of a group alone, 1 / (gamma h) before them
    linear: Vector
    f: Vector
    jacobian: Vector
    slope_time: Vector
    factors: Vector
    buffer: Vector
    point: Vector


class Work(Step):
    """State and work space of one solve; `n` states, sensitivities as rows `(n, p)`.

    Where there are any, `p` is one more than the directions of the model: the last column is their `global_error`.
    """

    p: int
    # what is asked for
    rtol: float
    start: float
    end: float
    max_step: float
    max_steps: int
    same_time: float
    # from the start to the first observation after it
    first_gap: float
    times: Vector
    time_count: int
    t: float
    h: float
    zero_since: Vector
    # least value of a state since it was below what its tolerance resolves, infinite where it never was
    troughs: Vector
    # part of the largest value that is an absolute tolerance; 1 where a state came back from below it by itself
    floor: float
    regrown: int
    # part of the present step's length by which the time is rounded, where that counts
    time_share: float
    # degrees of growth from zero, and the time in which the system changes after its start or a jump
    degrees: Vector
    emergence_time: float
    restart_time: float
    # longest step of late, forgotten slowly
    recent_step: float
    # 1 where a group has not taken up `noise` yet
    noise_is_new: int
    # 1 where a rough solve may be needed for the sizes of states that start at zero; 1 in such a solve, with a bound of
    # the growth of errors and its rate at the last look (`sizes`)
    wants_sizes: int
    rough: int
    growth_bound: float
    growth_bound_rate: float
    size_limit: float
    # time of the last look; how fast and how far modes have grown, and those that steps do not follow; what the search
    # for them needs (`growth`)
    growth_time: float
    growth_rate: float
    growth: float
    unfollowed_rate: float
    unfollowed_growth: float
    growth_shift: float
    growth_modulus: float
    growth_space: Vector
    # sensitivities
    s: Vector
    s_new: Vector
    s_error: Vector
    s_scale: Vector
    s_zero_since: Vector
    s_stages: Vector
    s_argument: Vector
    s_point: Vector
    tau_dot: Vector
    start_dots: Vector
    s_floor: Vector
    # of one row of outputs `(outputs, p)`; the largest of each state at outputs so far (n,)
    s_row: Vector
    s_sizes: Vector
    global_error: float
    # 1 where stages are not to leave the sign that a state has at both ends of the step
    keep_sign: int
    # 1 where a step has put a state to zero that would have changed its sign
    signs_moved: int
    # 1 since a stage left the domain of the right-hand side: stages are put to zero as steps are (`keep_signs`)
    keep_stage_signs: int
    # step control
    implicit: int
    method: int
    fresh: int
    log_error: float
    rejections: int
    steps: int
    stretch_steps: int
    explicit_steps: int
    implicit_steps: int
    stiff_count: int
    smooth_count: int
    stay_explicit: int
    # the first and the last time at which the right-hand side may be evaluated in a step: a stop at its ends belongs
    # to the other side, and rounding in a comparison may move it
    least_time: float
    cap: float
    step_implicit: int
    # what is planned for a step: the length that it would have had, where it has to end, the next stop, and 1 where it
    # ends at one of them
    planned: float
    limit: float
    stop: float
    lands: int
    # of the states, in tolerances; 1 where outputs lie inside the step
    state_error: float
    reads: int
    # of a step that was taken in a group: its arrays, and the place among them from which stages and factors are still
    # to be brought, -1 where they are in those of this record
    group: Step
    stages_place: int
    factors_place: int
    # 1 where error and an estimate of the fastest rate came with the step, and where its residuals did
    measured: int
    fastest: float
    has_residual: int
    residual: float
    # null without delays; sensitivities of what they see (2 d, p)
    past: Past
    past_d: Vector
    # stops
    stop_count: int
    # those of them that the schedule has given
    given_stops: int
    stop_times: Vector
    stop_order: Indices
    stop_next: int
    stop_doses: Indices
    dose_amounts: Vector
    dose_dots: Vector
    stop_dots: Vector
    # roots
    root_values: Vector
    root_signs: Vector
    root_new: Vector
    # 1 where a root crosses at the present time; the root that the step was ended at
    root_marks: Vector
    root_before: Vector
    chosen: int
    change: Vector
    kernel_out: Vector
    fired_time: float
    fired_count: int
    # output
    written: int
    rows: Vector
    s_rows: Vector
    # states at the same times, null where nobody asks
    state_rows: Vector
    outputs: int
    code: int
    # 1 where the solve has to have derivatives: sensitivities, or a tape for the adjoint, which is null otherwise
    differentiates: int
    tape: Tape
