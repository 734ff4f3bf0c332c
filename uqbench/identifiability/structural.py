"""Local structural identifiability: what the equations and the outputs allow to be known, whatever the data.

The question is asked of one unit with noise-free outputs: can its parameters be found, up to finitely many values, from
the measured outputs alone? The answer is the rank of the Jacobian of the output derivatives (`taylor`), exact but for a
stated probability. Parameters that enter no equation follow from their place in the hierarchy: those of a distribution
between units are known from many units, those of the noise from replicates.

What is not seen here: two values of a parameter that give the same outputs (only "finitely many" is decided), relations
between exp, log and erf that do not follow from their laws on monomials, and the help of further experiments or units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import xarray as xr

from ..design import Design
from ..errors import InputError
from ..model import Model
from ..symbols import DivisionByZero, exact, trace
from .field import Elementary, NotAnalytic
from .rank import Rank, rank_test
from .symmetries import echelon, integer_basis, linear, monomial, null_space, orthogonal, stacked
from .taylor import INITIALS, Jacobian, Question, random_point, singular_parts

METHOD = "rank of the Taylor coefficients modulo a prime (Sedoglavic 2002, doi:10.1006/jsco.2002.0532)"
INPUTS = ("constant", "functions")
LOCAL = "finitely many values give the same outputs"
POPULATION = "population: known from many units if the individual parameter is identifiable"
SINGULAR = (
    "divides by zero, or takes log or a fractional power of zero, at the start, so that there is no Taylor series; "
    "start from other values, or ask with initial='shifted' or 'unknown'."
)
THIS_START = "from this initial state; other initial states would show it"
NOISE = "noise: from replicates or residuals, not from the mean"


class SingularStart(InputError):
    """The equations have no Taylor series at the given start; another start (initial="shifted") may have one."""


@dataclass(frozen=True)
class Finding:
    """What was found of one unknown."""

    verdict: str
    reason: str
    combination: str = ""


def structural_identifiability(
    model: Model, *, design: Design | None = None, initial: str = "given", inputs: str = "constant", seed: int = 0
) -> xr.Dataset:
    """Which parameters the measured outputs determine locally, and which combinations of the others.

    Args:
        model: a model with an `Ode` system; the outputs with noise count as measured (all, if none has any).
        design: shapes of the inputs and the start time; not needed where inputs are single numbers.
        initial: "given": the states start as the model says; "shifted": each a generic known amount away from there;
            "unknown": the initial states are asked for too.
        inputs: the known inputs are "constant" (at generic values) or generic "functions" of time.
        seed: of the random points and primes.

    Returns:
        by `parameter` (the free ones): `verdict` "local" or "none", `reason` in words, `combination` the identifiable
        monomials or sums that contain it; by `state` (initial="unknown") the same as `state_verdict`,
        `state_reason`; `direction` (`null_direction`, `unknown`): changes of the logarithms that leave all outputs
        as they are, integers where they are the same everywhere, NaN where they depend on the values. Attributes:
        `rank` of so many `unknowns`, `order` of the derivative that completed it, `failure_probability`, `method`.

    Raises:
        InputError: operations without an algebraic meaning; a start at which the equations have no Taylor series.

    Example:
        >>> from forward_models.secretion import model
        >>> structural_identifiability(model).combination.sel(parameter="s").item()
        's*q'
    """
    subject = f"structural identifiability of {model.name!r}" if model.name else "structural identifiability"
    given = (("initial", initial, INITIALS), ("inputs", inputs, INPUTS))
    wrong = [f"{name}={value!r}; known are {', '.join(map(repr, known))}." for name, value, known in given
             if value not in known]  # fmt: skip
    if wrong:
        raise InputError(subject, wrong)
    question = replace(pose(subject, model, design, initial), varying=inputs == "functions")
    rng = np.random.default_rng(seed)
    try:
        outcome = rank_test(question, rng)
    except NotAnalytic:
        parts = singular_parts(question, rng)
        raise SingularStart(subject, [f"{part} {SINGULAR}" for part in parts]) from None
    complete = outcome.rank == len(question.unknowns)
    points = outcome.jacobians[:1] if complete else _more_points(question, outcome, rng)
    findings = _findings(question, points)
    if outcome.generic:
        findings |= _at_this_start(question, outcome.generic, findings)
    findings |= _hierarchy(model, question, findings)
    return _dataset(model, question, outcome, points, findings)


def pose(subject: str, model: Model, design: Design | None, initial: str) -> Question:
    """The question that a model raises: fixed parameters are known, the free ones in its equations unknown."""
    known = {name: exact(float(model.space[name].dist)) for name in model.space.fixed}
    try:
        program = trace(model, design).rewrite(Elementary(), known)
    except DivisionByZero:
        raise InputError(subject, ["divides by a fixed parameter that is zero; give it another value."]) from None
    outputs = tuple(name for name in program.outputs if name in model.noise) or program.outputs
    roots = [*program.rhs.values(), *(program.observe[name] for name in outputs)]
    entering = program.symbols(roots if initial == "unknown" else [*roots, *program.initial.values()])
    unknowns = tuple(name for name in model.space.free if name in entering)
    unknowns += program.states if initial == "unknown" else ()
    start = exact(float(design.start)) if design is not None else Fraction(0)
    return Question(program, unknowns, outputs, initial, start)


def _findings(question: Question, points: Sequence[Jacobian]) -> dict[str, Finding]:
    """A verdict for every unknown of the question."""
    names = question.unknowns
    free = null_space(points[0].matrix()) if names else []
    moved = [k for k in range(len(names)) if any(row[k] for row in free)]
    combinations = _combinations(points, moved, names) if moved else []
    out = dict.fromkeys(names, Finding("local", LOCAL))
    for k in moved:
        found = [text for members, text in combinations if k in members]
        out[names[k]] = Finding("none", _why(names, k, free, found), ", ".join(found))
    return out


def _at_this_start(question: Question, generic: Rank, findings: dict[str, Finding]) -> dict[str, Finding]:
    """Findings that hold only because the states start where they do."""
    free = null_space(generic.jacobians[0].matrix())
    out = {}
    for k, name in enumerate(question.unknowns):
        if findings[name].verdict == "none" and not any(row[k] for row in free):
            out[name] = replace(findings[name], reason=f"{findings[name].reason} ({THIS_START})")
    return out


def _why(names: Sequence[str], k: int, free: Sequence[Sequence[int]], found: Sequence[str]) -> str:
    if any(row[k] and sum(map(bool, row)) == 1 for row in free):
        return "never seen: no measured output depends on it"
    if found:
        return f"seen only in combination: {', '.join(found)}"
    others = sorted({i for row in free if row[k] for i, entry in enumerate(row) if entry} - {k})
    return f"a change of it is undone by {', '.join(names[i] for i in others)}"


def _more_points(question: Question, outcome: Rank, rng: np.random.Generator) -> list[Jacobian]:
    """Points of one field, until another one shows nothing new about the null space."""
    first = outcome.jacobians[0]
    points, span = [first], null_space(first.matrix())
    moved = sum(any(row[k] for row in span) for k in range(len(question.unknowns)))
    while True:
        point = random_point(question, rng, first.field).jacobian(outcome.order)
        if point.matrix().rank() < outcome.rank:
            continue
        points.append(point)
        larger = echelon(span + null_space(point.matrix()), first.prime)
        if len(larger) in (len(span), moved):
            return points
        span = larger


def _combinations(points: Sequence[Jacobian], moved: Sequence[int], names: Sequence[str]) -> list[tuple[set[int], str]]:
    """Identifiable monomials of the moved unknowns; sums for those that occur in no monomial."""
    prime, found = points[0].prime, []
    covered: set[int] = set()
    for matrices, text in (([p.matrix() for p in points], monomial), ([p.natural() for p in points], linear)):
        span = echelon([row for matrix in matrices for row in null_space(matrix)], prime)
        span = [[row[k] for k in moved] for row in span]
        for row in integer_basis(orthogonal(span, prime), prime):
            members = {k for k, entry in zip(moved, row, strict=True) if entry}
            if not members <= covered:
                found.append((members, text(row, [names[k] for k in moved])))
        covered = {k for members, _ in found for k in members}
    return found


def _hierarchy(model: Model, question: Question, known: dict[str, Finding]) -> dict[str, Finding]:
    """What follows for the free parameters that enter no equation, from where else they enter."""
    noise = {name for output in question.outputs if output in model.noise for name in model.noise[output].names}
    out = dict(known)
    # A distribution names only earlier parameters, so in reverse order whoever names one is already settled.
    for name in reversed([name for name in model.space.free if name not in known]):
        varying = [other for other in model.space.aleatory if name in model.space[other].names]
        if name in noise:
            out[name] = Finding("local", NOISE)
        elif varying:
            local = all(out[other].verdict == "local" for other in varying)
            out[name] = Finding("local" if local else "none", POPULATION)
        elif any(name in model.space[other].names for other in model.space.epistemic):
            out[name] = Finding("none", "prior: enters only the prior of a parameter that has a single value")
        else:
            out[name] = Finding("none", "unused: enters neither the equations of measured outputs nor a distribution")
    return out


def _directions(points: Sequence[Jacobian]) -> np.ndarray:
    """Directions of the null space: scalings in integers first, then the others as NaN where they do not vanish."""
    free, prime = null_space(points[0].matrix()), points[0].prime
    scalings = integer_basis(null_space(stacked([point.matrix() for point in points])), prime)
    rows, span = [list(map(float, row)) for row in scalings], scalings
    for row in free:
        larger = echelon([*span, row], prime)
        if len(larger) > len(rows):
            rows.append([float("nan") if entry else 0.0 for entry in row])
            span = larger
    return np.array(rows).reshape(len(rows), len(points[0].values))


def _dataset(model: Model, question: Question, outcome: Rank, points: Sequence[Jacobian], findings: dict) -> xr.Dataset:
    parameters, unknowns = list(model.space.free), list(question.unknowns)
    columns = {
        "verdict": ("parameter", [findings[name].verdict for name in parameters]),
        "reason": ("parameter", [findings[name].reason for name in parameters]),
        "combination": ("parameter", [findings[name].combination for name in parameters]),
        "direction": (("null_direction", "unknown"), _directions(points)),
    }
    coordinates = {"parameter": parameters, "unknown": unknowns}
    if question.initial == "unknown":
        states = list(question.program.states)
        columns["state_verdict"] = ("state", [findings[name].verdict for name in states])
        columns["state_reason"] = ("state", [findings[name].reason for name in states])
        columns["state_combination"] = ("state", [findings[name].combination for name in states])
        coordinates["state"] = states
    attributes = {
        "rank": outcome.rank,
        "unknowns": len(unknowns),
        "order": outcome.order,
        "failure_probability": outcome.failure_probability,
        "initial": question.initial,
        "inputs": "functions" if question.varying else "constant",
        "method": METHOD,
    }
    return xr.Dataset(columns, coordinates, attributes)
