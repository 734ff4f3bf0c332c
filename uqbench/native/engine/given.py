"""The arrays of one problem, as a call gives them."""

from ..language import Record, Vector, allocate_record, native
from .records import Tape


class Setting(Record):
    """Where a solve puts its results, and its tolerances."""

    settings: Vector
    atol: Vector
    rows: Vector
    report: Vector
    states: Vector
    scales: Vector


class Given(Record):
    """The arrays of one problem; `d` marks derivatives in the `p` directions, absent where p is 0."""

    p: int
    # (m,) parameters and inputs; (n,) initial state; (n,) absolute tolerances, 0 where automatic
    q: Vector
    initial: Vector
    atol: Vector
    # (times,)
    times: Vector
    time_count: int
    # (stops,), (stops, n)
    stops: Vector
    stop_count: int
    dose_amounts: Vector
    # (n, p), (p,), (stops, p), (stops, n, p)
    initial_d: Vector
    start_d: Vector
    stops_d: Vector
    dose_amounts_d: Vector
    # (SETTINGS,)
    settings: Vector
    # (times, outputs), (REPORT + n,), (times, outputs, p)
    rows: Vector
    report: Vector
    rows_d: Vector
    # 1 where there have to be derivatives; what an adjoint is for, null where there is none
    differentiates: int
    tape: Tape
    # (times, outputs), (cotangents, 2): by directions, initial state, start, stops and dose_amounts, of order 5 and 4
    rows_bar: Vector
    cotangents: Vector
    # for sensitivities where an adjoint is not enough: whether what follows is given; those directions (few,) on which
    # the start and the schedule depend, and the derivatives in them, (n, few), (few,), (stops, few), (stops, n, few)
    has_few: int
    few: int
    places: Vector
    initial_few: Vector
    start_few: Vector
    stops_few: Vector
    dose_amounts_few: Vector
    # difference of the two in units of what is aimed at, and of what is trusted at most; the relative tolerance that
    # was asked for
    distrust: float
    worst_distrust: float
    accuracy: float
    # of the sensitivities, relative to the largest of each state
    global_error: float
    # see `Work`
    floor: float
    regrown: int
    # 1 where errors may have been magnified to the size of the solution; then the values are confirmed (`confirming`)
    # by their states (times, n) and the largest of each (n,), null where they are not; 1 while that is under way
    magnified: int
    states: Vector
    scales: Vector
    confirming: int
    # what is set aside meanwhile
    first: Setting
    # 1 in a rough solve; largest values of the outputs (outputs,) by such a solve, null where there was none; 1 where
    # none is wanted (`sizes`)
    rough: int
    rough_outputs: Vector
    without_sizes: int


@native
def same_problem(given: Given) -> Given:
    """The same parameters, start, times and doses, to be solved in another way: without derivatives and results."""
    other = allocate_record(Given)
    other.q = given.q
    other.initial = given.initial
    other.atol = given.atol
    other.times = given.times
    other.time_count = given.time_count
    other.stops = given.stops
    other.stop_count = given.stop_count
    other.dose_amounts = given.dose_amounts
    return other
