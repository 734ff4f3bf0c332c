"""Structural identifiability: what the equations and the outputs allow to be known, whatever the data.

The question is asked of one unit with noise-free outputs: can its parameters be found from the measured outputs alone?
*Locally*, that is up to finitely many values, is the rank of the Jacobian of the output derivatives (`taylor`), exact
but for a stated probability. *Globally*, that is one value, is a question about all points that give the same outputs
as a random one (`portfolio`). Parameters that enter no equation follow from the distributions they are in: those of a
distribution between units are known from many units, those of the noise from replicates.

Values are counted over the complex numbers, so "local" may be "global" among positive ones; the reason says where that
is so. What is not seen here: relations between exp, log and erf that do not follow from their laws on monomials, and
the help of further units.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy
import xarray as xr

from ..design import Design
from ..errors import InputError
from ..model import Model, as_measured
from ..symbols import DivisionByZero, NoFormula, Program, Recorder, Stretch, exact, trace, trace_stretches
from .budget import Budget
from .closures import through_closure
from .field import Elementary, NotAnalytic
from .findings import MEANING, UNSEEN, Finding
from .known_functions import as_inputs
from .portfolio import RANK, SOURCES, Decision, decide
from .rank import Rank, rank_test
from .scheduled_events import (
    LATER_EVENTS,
    ONLY_EVENTS,
    ONLY_JUMPS,
    SEVERAL_STRETCHES,
    after_first_dose,
    parameters_of_events,
    times_of_events,
)
from .symmetries import echelon, integer_basis, linear, monomial, null_space, orthogonal, stacked
from .taylor import INITIALS, Jacobian, Question, random_point, singular_parts

METHOD = "rank of the Taylor coefficients modulo a prime (Sedoglavic 2002, doi:10.1006/jsco.2002.0532)"
INPUTS = ("constant", "functions")
LEVELS = ("local", "global")
ORDER = ("none", "undecided", "local", "global")
BUDGET = 60.0
LOCAL = "finitely many values give the same outputs"
GLOBAL = "one value gives these outputs"
USUAL = {"global": GLOBAL, "local": LOCAL, "undecided": "no method decided it"}
THIS_LOCAL = "as far as the Taylor coefficients were followed from this initial state"
SUPPOSITION = "supposes that special points are zeros of a polynomial of the degree of the equations times the fibre"
POPULATION = "population: known from many units if the individual parameter is identifiable"
OF_LEVELS = "levels: known from many levels if the parameter of each is identifiable"
SINGULAR = (
    "divides by zero, or takes log or a fractional power of zero, at the start, so that there is no Taylor series; "
    "start from other values, or ask with initial='shifted' or 'unknown'."
)
THIS_START = "from this initial state; other initial states would show it"
PLACE = "how it enters the distributions"
NOISE = "noise: from replicates or residuals, not from the mean"


class SingularStart(InputError):
    """The equations have no Taylor series at the given start; another start (initial="shifted") may have one."""


def structural_identifiability(
    model: Model, *, design: Design | None = None, initial: str = "given", inputs: str = "constant",
    level: str = "global", budget: float = BUDGET, seed: int = 0
) -> xr.Dataset:  # fmt: skip
    """Which parameters the measured outputs determine, and which combinations of the others.

    Args:
        model: a model with an `Ode` system; the outputs with noise count as measured (all, if none has any). Of one
            made by `Model.closed_by` the coarse model is asked, and what its closure makes of it, see `closures`.
        design: shapes of the inputs and the start time; not needed where inputs are single numbers. Where equations
            jump (`where`, `max`, `abs`, `interp` of time and inputs), its inputs and times say which formulas hold one
            after another: each stretch between jumps is asked by itself, the later ones from unknown states.
        initial: "given": the states start as the model says (and after the first dose, if there are doses);
            "shifted": each a generic known amount away from there; "unknown": the initial states are asked for too.
        inputs: the known inputs are "constant" (at generic values) or generic "functions" of time. A known function of
            time in the equations, sin(2 pi t) say, counts as a generic one in the global part if the rank is the same.
        level: "global", or "local" for the quick first half of the question, which says "local" or "none".
        budget: seconds for the global part; what is not decided by then is "undecided".
        seed: of the random points and primes.

    Returns:
        by `parameter` (the free ones): `verdict` "global" (one value), "local" (finitely many, over the complex
        numbers), "none" or "undecided"; `locally` whether at most finitely many values are possible, which is known
        even where the verdict is "undecided"; `reason` in words; `method`; `combination` the identifiable monomials or
        sums that contain it. By `state` (initial="unknown") the same as `state_verdict`, ... By `generator`:
        `expression`, functions (SymPy text, simplest first) of which all identifiable functions are rational
        functions, if `generators_complete`. `direction` (`null_direction`, `unknown`): changes of the logarithms that
        leave all outputs as they are, integers where they are the same everywhere, NaN where they depend on the
        values. Attributes: `rank` of so many `unknowns`, `order` of the derivative that completed it,
        `failure_probability` (a bound, of the rank), `global_failure_probability` (an estimate that
        `global_failure_supposes` something), `repeats` of random points, `experiments` "one" or "several", `seconds`,
        `method`, `verdict_meaning`, `stretches` between jumps, if there are any (directions, rank and generators are
        those of the first), `suggestion` (JSON: new name -> combination, for `Model.reparametrised`).

    Raises:
        InputError: operations without an algebraic meaning, among them jumps where states say so; a start at which the
            equations have no Taylor series.

    Example:
        >>> from forward_models.secretion import model
        >>> structural_identifiability(model).combination.sel(parameter="s").item()
        's*q'
    """
    given = (("initial", initial, INITIALS), ("inputs", inputs, INPUTS), ("level", level, LEVELS))
    wrong = [f"{name}={value!r}; known are {', '.join(map(repr, known))}." for name, value, known in given
             if value not in known]  # fmt: skip
    if not budget > 0:
        wrong.append(f"budget={budget!r}; give a positive number of seconds, or level='local' for the local part only.")
    if wrong:
        raise InputError(_subject(model), wrong)
    limit = Budget(budget)
    found = within(limit, model, design=design, initial=initial, inputs=inputs, level=level, seed=seed)
    return found.assign_attrs(budget=budget)


def within(
    limit: Budget, model: Model, *, design: Design | None = None, initial: str = "given", inputs: str = "constant",
    level: str = "global", seed: int = 0
) -> xr.Dataset:  # fmt: skip
    """`structural_identifiability` as a part of something longer, with the time limit that this has."""
    began, subject = time.monotonic(), _subject(model)
    if "closure" in model.dynamics.capabilities:
        given = {"design": design, "initial": initial, "inputs": inputs, "level": level, "seed": seed}
        return through_closure(model, within(limit, model.dynamics.model, **given), seed)
    model = as_measured(model.dynamics.written_out(model, design) or model)
    has_events = bool(model.dynamics.scheduled_events)
    smooth = after_first_dose(model, design) if has_events else model
    rng = np.random.default_rng(seed)
    between = _between_jumps(model, smooth, design)
    found = []
    for k, stretch in enumerate(between):
        # where the states are at a later jump is a function of the parameters that has no formula
        start = initial if k == 0 else "unknown"
        program = stretch.program if stretch else None
        question = pose(subject, smooth, design, start, program=program)
        question = replace(question, varying=inputs == "functions")
        part = limit.part(limit.left / (len(between) - k))
        answer = _answer(subject, question, level, rng, part)
        seen = dict(answer.findings)
        seen |= _by_the_noise(subject, smooth, program, design, question, seen, level, rng, part)
        found.append((question, answer, seen))
    question, answer, findings = found[0]
    if len(between) > 1:
        findings = _of_all_stretches(model, between, [seen for *_, seen in found])
    if has_events:
        findings |= _left_open_by_events(model, design, findings)
    findings |= _hierarchy(model, question, findings, level)
    dataset = _dataset(model, question, answer, findings)
    dataset.attrs["suggestion"] = json.dumps(_suggestion(model, findings, answer.decision))
    if len(between) > 1:
        dataset.attrs["stretches"] = len(between)
    return dataset.assign_attrs(seconds=time.monotonic() - began)


def _subject(model: Model) -> str:
    return f"structural identifiability of {model.name!r}" if model.name else "structural identifiability"


def _between_jumps(model: Model, smooth: Model, design: Design | None) -> list[Stretch | None]:
    """The stretches of time between jumps of the right-hand side; one, None, where the equations have no jumps.

    Raises:
        NoFormula: what decides between formulas is not time and inputs alone.
    """
    try:
        trace(smooth, design)
        return [None]
    except NoFormula:
        if design is None:
            raise
    first, known = times_of_events(model, design)
    return [*trace_stretches(smooth, design, first, known)]


def _of_all_stretches(model: Model, between: Sequence[Stretch], found: Sequence[dict[str, Finding]]):
    """What one stretch at least shows; what none shows by itself is open where any of them depends on it."""
    out: dict[str, Finding] = {}
    for name in model.space.free:
        seen = [(stretch, findings[name]) for stretch, findings in zip(between, found, strict=True) if name in findings]
        moving = any(name in stretch.parameters for stretch in between)
        if not seen:
            if moving:
                out[name] = Finding("undecided", ONLY_JUMPS, locally=False)
            continue
        stretch, best = max(seen, key=lambda pair: ORDER.index(pair[1].verdict))
        if best.verdict != "none":
            out[name] = replace(
                best, reason=f"{best.reason} (by the equations that hold from t = {stretch.time:.4g} on)"
            )
        elif moving or any(finding.reason != UNSEEN.reason for _, finding in seen):
            out[name] = replace(best, verdict="undecided", reason=f"{best.reason}; {SEVERAL_STRETCHES}")
        else:
            out[name] = best
    return out


@dataclass(frozen=True)
class Answer:
    """What is found of one question.

    Args:
        outcome: of the rank test. points: at which the null space was looked at.
        findings: of every unknown. decision: of the global part, None where it was not asked.
    """

    outcome: Rank
    points: Sequence[Jacobian]
    findings: dict[str, Finding]
    decision: Decision | None


def _answer(subject: str, question: Question, level: str, rng: np.random.Generator, budget: Budget) -> Answer:
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
    decision = None
    if level == "global":
        decision = decide(*_for_the_fibre(question, outcome, rng), rng, budget)
        findings |= _decided(question, decision, findings)
    return Answer(outcome, points, findings, decision)


def _for_the_fibre(question: Question, outcome: Rank, rng: np.random.Generator) -> tuple[Question, Rank]:
    """The question with known functions of time as inputs where that changes no rank: no relation of theirs matters."""
    if question.simpler is None:
        return question, outcome
    simpler = replace(question.simpler, initial=question.initial, varying=question.varying)
    try:
        same = rank_test(simpler, rng)
    except NotAnalytic:
        return question, outcome
    return (simpler, same) if same.rank == outcome.rank else (question, outcome)


def _by_the_noise(
    subject: str, model: Model, program: Program | None, design: Design | None, question: Question,
    known: dict[str, Finding], level: str, rng: np.random.Generator, budget: Budget
) -> dict[str, Finding]:  # fmt: skip
    """What the noise shows of parameters that the measured outputs do not: replicates tell what it is made of.

    An output to which the noise refers, its standard deviation say, is known as a function of time as the measured ones
    are.
    """
    named = {name for output in question.outputs if output in model.noise for name in model.noise[output].names}
    further = tuple(name for name in question.program.outputs if name in named and name not in question.outputs)
    if not further:
        return {}
    wider = pose(subject, model, design, question.initial, program=program, outputs=(*question.outputs, *further))
    wider = replace(wider, varying=question.varying)
    missed = [name for name in wider.unknowns if known.get(name, UNSEEN).verdict in ("none", "undecided")]
    if not missed:
        return {}
    try:
        found = _answer(subject, wider, level, rng, budget).findings
    except SingularStart:
        # a root of an output that begins at zero; the outputs themselves may start there
        found = _answer(subject, replace(wider, initial="shifted"), level, rng, budget).findings
    return {
        name: replace(found[name], reason=f"{NOISE}: {found[name].reason}")
        for name in missed
        if name not in known or ORDER.index(found[name].verdict) > ORDER.index(known[name].verdict)
    }


def pose(
    subject: str, model: Model, design: Design | None, initial: str, *, program: Program | None = None,
    outputs: Sequence[str] | None = None
) -> Question:  # fmt: skip
    """The question that a model raises: fixed parameters are known, the free ones in its equations unknown.

    Args:
        program: its equations, by default those of `trace`.
        outputs: those that count as measured, by default those with noise, or all if none has any.
    """
    known = {name: exact(float(model.space[name].dist)) for name in model.space.fixed}
    try:
        written = (program or trace(model, design)).rewrite(Recorder(), known)
        program = written.rewrite(Elementary())
    except DivisionByZero:
        raise InputError(subject, ["divides by a fixed parameter that is zero; give it another value."]) from None
    if outputs is None:
        outputs = tuple(name for name in program.outputs if name in model.noise) or program.outputs
    roots = [*program.rhs.values(), *(program.observe[name] for name in outputs)]
    entering = program.symbols(roots if initial == "unknown" else [*roots, *program.initial.values()])
    unknowns = tuple(name for name in model.space.free if name in entering)
    unknowns += program.states if initial == "unknown" else ()
    start = exact(float(design.start)) if design is not None else Fraction(0)
    question = Question(program, unknowns, tuple(outputs), initial, start)
    driven_program, driven = as_inputs(written)
    if driven_program is written:
        return question
    return replace(question, simpler=replace(question, program=driven_program.rewrite(Elementary()), driven=driven))


def _findings(question: Question, points: Sequence[Jacobian]) -> dict[str, Finding]:
    """A verdict for every unknown of the question."""
    names = question.unknowns
    free = null_space(points[0].matrix()) if names else []
    moved = [k for k in range(len(names)) if any(row[k] for row in free)]
    combinations = _combinations(points, moved, names) if moved else []
    out = dict.fromkeys(names, Finding("local", LOCAL))
    for k in moved:
        found = [text for members, text in combinations if k in members]
        out[names[k]] = Finding("none", _why(names, k, free, found), ", ".join(found), locally=False)
    return out


def _at_this_start(question: Question, generic: Rank, findings: dict[str, Finding]) -> dict[str, Finding]:
    """Findings that hold only because the states start where they do."""
    free = null_space(generic.jacobians[0].matrix())
    out = {}
    for k, name in enumerate(question.unknowns):
        if findings[name].verdict == "none" and not any(row[k] for row in free):
            out[name] = replace(findings[name], reason=f"{findings[name].reason} ({THIS_START})", this_start=True)
    return out


def _decided(question: Question, decision: Decision, local: dict[str, Finding]) -> dict[str, Finding]:
    """Findings with the global verdicts, and with the generators that contain an unknown."""
    members = {str(each): {symbol.name for symbol in each.free_symbols} for each in decision.generators.expressions}
    out = {}
    for name, finding in local.items():
        verdict = decision.verdicts.get(name, finding.verdict)
        combination = finding.combination or ", ".join(
            text for text, names in members.items() if name in names and text != name and len(text) <= READABLE
        )
        if verdict == "none":
            out[name] = replace(finding, combination=combination)
            continue
        reason = (
            decision.reasons.get(name)
            or {"global": GLOBAL, "local": LOCAL, "undecided": "no method decided it"}[verdict]
        )
        if verdict == "undecided":
            reason = f"{LOCAL}; whether only one does is undecided: {reason}"
        elif verdict == "local" and question.initial == "given":
            reason = f"{reason} ({THIS_LOCAL})"
        method = decision.methods.get(name, RANK)
        out[name] = Finding(verdict, reason, combination if verdict != "global" else "", method)
    return out


def _left_open_by_events(model: Model, design: Design | None, known: dict[str, Finding]) -> dict[str, Finding]:
    """What doses and switches leave undecided."""
    entering = parameters_of_events(model, design)
    out = {
        name: Finding("undecided", ONLY_EVENTS, locally=False)
        for name in model.space.free if name in entering and name not in known
    }  # fmt: skip
    for name, finding in known.items():
        if finding.verdict == "none" and (name in entering or finding.this_start):
            out[name] = replace(finding, verdict="undecided", reason=f"{finding.reason}; {LATER_EVENTS}")
    return out


def _why(names: Sequence[str], k: int, free: Sequence[Sequence[int]], found: Sequence[str]) -> str:
    if any(row[k] and sum(map(bool, row)) == 1 for row in free):
        return UNSEEN.reason
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


def _hierarchy(model: Model, question: Question, known: dict[str, Finding], level: str) -> dict[str, Finding]:
    """What follows for the free parameters that enter no equation, from where else they enter."""
    noise = {name for output in question.outputs if output in model.noise for name in model.noise[output].names}
    out = dict(known)
    # A distribution names only earlier parameters, so in reverse order whoever names one is already decided.
    for name in reversed([name for name in model.space.free if name not in known]):
        units, levels = (
            [out[other] for other in of if name in model.space[other].names]
            for of in (model.space.aleatory, model.space.epistemic)
        )
        if name in noise:
            out[name] = Finding(level, NOISE, method=PLACE)
        elif varying := units or (levels if len(levels) > 1 else []):
            verdict = min((finding.verdict for finding in varying), key=ORDER.index)
            locally = all(finding.locally for finding in varying)
            out[name] = Finding(verdict, POPULATION if units else OF_LEVELS, method=PLACE, locally=locally)
        elif any(name in model.space[other].names for other in model.space.epistemic):
            reason = "prior: enters only the prior of a parameter that has a single value"
            out[name] = Finding("none", reason, method=PLACE, locally=False)
        else:
            reason = "unused: enters neither the equations of measured outputs nor a distribution"
            out[name] = Finding("none", reason, method=PLACE, locally=False)
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


def _suggestion(model: Model, findings: dict[str, Finding], decision: Decision | None) -> dict[str, str]:
    """New names and the combinations of parameters that cannot be known by themselves, for `reparametrised`."""
    lost = {name for name in model.space.free if findings[name].verdict == "none"}
    if decision is None or not decision.generators.complete:
        return {}
    out = {}
    for each in decision.generators.expressions:
        members = {symbol.name for symbol in each.free_symbols}
        if len(members) > 1 and members <= lost:
            name = _name(each)
            out[name if name not in model.space and name not in model.outputs else f"{name}_together"] = str(each)
    return out


def _name(expression: sympy.Expr) -> str:
    """A name for a combination: k*g is called g_k, s/k is s_over_k, and other ones by their members."""
    above, below = (part.free_symbols for part in sympy.fraction(sympy.together(expression)))
    top, bottom = ("_".join(sorted(symbol.name for symbol in part)) for part in (above, below))
    return f"{top or 'one'}_over_{bottom}" if bottom else top


# Longer combinations stand among the generators only.
READABLE = 60
FIELDS = ("verdict", "locally", "method", "reason", "combination")


def _dataset(
    model: Model, question: Question, answer: Answer, findings: dict[str, Finding]
) -> xr.Dataset:  # fmt: skip
    outcome, decision = answer.outcome, answer.decision
    parameters, unknowns = list(model.space.free), list(question.unknowns)
    columns = {name: ("parameter", [getattr(findings[each], name) for each in parameters]) for name in FIELDS}
    columns["direction"] = (("null_direction", "unknown"), _directions(answer.points))
    coordinates = {"parameter": parameters, "unknown": unknowns}
    if question.initial == "unknown":
        states = list(question.program.states)
        columns |= {f"state_{name}": ("state", [getattr(findings[each], name) for each in states]) for name in FIELDS}
        coordinates["state"] = states
    attributes = {
        "rank": outcome.rank,
        "unknowns": len(unknowns),
        "order": outcome.order,
        "failure_probability": outcome.failure_probability,
        "initial": question.initial,
        "inputs": "functions" if question.varying else "constant",
        "level": "local" if decision is None else "global",
        "method": METHOD,
        "verdict_meaning": MEANING,
    }
    if decision is not None:
        columns["expression"] = ("generator", [str(each) for each in decision.generators.expressions])
        used = [text for method, text in SOURCES.items() if method in decision.methods.values()]
        attributes |= {
            "global_failure_probability": decision.failure_probability,
            "global_failure_supposes": SUPPOSITION,
            "repeats": decision.repeats,
            "experiments": "one" if decision.single else "several",
            "generators_complete": decision.generators.complete,
            "generators_reason": decision.generators.reason,
            "method": "; ".join([METHOD, *used]),
        }
    return xr.Dataset(columns, coordinates, attributes)
