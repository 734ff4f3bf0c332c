"""One solve of a problem, and others of the same problem at other tolerances."""

from ..language import allocate, allocate_record, copy, is_null, native, release
from .given import Given, Setting
from .problem import close_problem, open_problem
from .records import SETTINGS, Model
from .sizes import advance

# Limits of relative tolerances.
FINEST, COARSEST = 1e-13, 1e-2
# So many times the steps that the states are allowed may be taken where more has to be resolved.
MORE_STEPS = 10.0


@native
def solve_once(model: Model, given: Given) -> None:
    """One solve, with the floor that is given."""
    problem = open_problem(model, given)
    advance(model, problem)
    close_problem(problem)


@native
def open_tolerances(model: Model, given: Given) -> Setting:
    """Gives a problem settings and tolerances of its own, equal to those it had, which wait in what is returned."""
    first = allocate_record(Setting)
    first.settings = given.settings
    first.atol = given.atol
    given.settings = allocate(SETTINGS)
    given.atol = allocate(model.states)
    copy(given.settings, first.settings, SETTINGS)
    copy(given.atol, first.atol, model.states)
    return first


@native
def rescale(model: Model, given: Given, factor: float) -> None:
    """Tolerances times `factor`, the relative one within limits."""
    rtol = given.settings[1]
    given.settings[1] = min(max(factor * rtol, FINEST), max(COARSEST, rtol))
    for k in range(model.states):
        given.atol[k] = factor * given.atol[k]


@native
def close_tolerances(given: Given, first: Setting) -> None:
    """The problem has those tolerances again that waited."""
    release(given.settings)
    release(given.atol)
    given.settings = first.settings
    given.atol = first.atol
    release(first)


@native
def solve_without_floor(model: Model, given: Given) -> None:
    """Solves again where a state has come back, by itself, from below what its tolerance resolves."""
    if not is_null(given.tape):
        given.tape.used = 0
        given.tape.longest = 0.0
    first = open_tolerances(model, given)
    given.settings[3] = MORE_STEPS * first.settings[3]
    given.floor = 0.0
    solve_once(model, given)
    close_tolerances(given, first)
