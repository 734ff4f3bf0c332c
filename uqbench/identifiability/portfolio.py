"""Which locally identifiable unknowns have one value only: several methods, until the first proof.

1. The system of Taylor coefficients at a random point (`fibres.taylor_fibre`). It decides most models in a fraction of
   a second. With exp, log and real powers it is asked of a rational form (`fibres.rational`).
2. What that leaves open: the input-output equations (`elimination`), whose coefficients are what outputs tell of the
   parameters, and the fibre of these coefficients (`fibres.coefficient_fibre`). Some of them prove "global"; "local"
   takes all, and a single component.
3. The Taylor system again, now with these coefficients as known functions: for states, and what else is open.

Each gets a few seconds, and more in a second turn: which of them is fast depends on the model. Each verdict
is repeated modulo a second prime at a second point; where they differ nothing is said. Nothing here says "global" or
"local" without a proof up to the stated probability; what no method decides in time is "undecided".
"""

from dataclasses import dataclass, field, replace

import numpy as np
import sympy

from .budget import Budget, Undecided
from .combinations import combinations
from .fibres.generators import Generators
from .fibres.taylor_fibre import Answer, global_identifiability, plan
from .field import SMALL_BITS
from .learning import Learned, learn
from .rank import Rank
from .rational import global_with_functions
from .taylor import Question

EXPLICIT = "input-output equations and derivatives"
TAYLOR, EQUATIONS, BOTH = "Taylor coefficients", "input-output equations", "Taylor coefficients and equations"
RATIONAL, RANK = "Taylor coefficients of a rational form", "rank"
SOURCES = {
    TAYLOR: "fibre of the Taylor coefficients (Hong et al. 2020, doi:10.1002/cpa.21921)",
    RATIONAL: "fibre of the Taylor coefficients of a rational form with the functions as unknowns",
    EQUATIONS: "fibre of the coefficients of input-output equations (Dong et al. 2023, doi:10.1137/22M1469067)",
    EXPLICIT: "fibre of the coefficients of input-output equations (Dong et al. 2023, doi:10.1137/22M1469067) and of "
    "the derivatives of the outputs",
    BOTH: "fibre of Taylor coefficients and coefficients of input-output equations together",
}
SEVERAL = "one value gives these outputs in several experiments with different initial states"
FUNCTIONS = "combinations are not looked for where there are exp, log or real powers"
DISAGREE = "the random points disagree"

# Seconds, at most, in each turn: of the Taylor system alone (or half of what is left), and of one round of equations.
TURNS = ((0.7, 4.0), (4.0, 40.0), (float("inf"), float("inf")))


@dataclass(frozen=True)
class Decision:
    """What was decided of the locally identifiable unknowns.

    Args:
        verdicts: unknown -> "global", "local" or "undecided".
        methods: unknown -> a key of `SOURCES`; reasons: why undecided, or how the several values are related.
        generators: of all identifiable functions.
        single: whether every verdict is for one experiment.
        repeats: points, modulo different primes, that agree.
        failure_probability: see `estimated_failure`.
    """

    verdicts: dict[str, str]
    methods: dict[str, str]
    reasons: dict[str, str]
    generators: Generators
    single: bool = True
    repeats: int = 0
    failure_probability: float = 0.0


@dataclass
class Findings:
    """A table that is filled as methods succeed; `several` are the names whose verdict takes several experiments."""

    names: tuple[str, ...]
    verdicts: dict[str, str] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)

    @property
    def open(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.verdicts)

    def add(self, verdicts, method: str, words=None) -> None:
        """Takes the verdicts about what is still open; `words` describe several values."""
        for name in self.open:
            if verdicts.get(name) in ("global", "local"):
                self.verdicts[name], self.methods[name] = verdicts[name], method
                self.reasons.pop(name, None)
        self.reasons |= {name: text for name, text in (words or {}).items() if self.verdicts.get(name) == "local"}

    def leave(self, reason: str) -> None:
        """Why the rest is open."""
        self.reasons |= dict.fromkeys(self.open, reason)

    def agreed(self, other: "Findings") -> "Findings":
        """What two independent points both say."""
        same = Findings(self.names)
        for name in self.names:
            mine, theirs = self.verdicts.get(name), other.verdicts.get(name)
            if mine is not None and mine == theirs:
                same.verdicts[name], same.methods[name] = mine, self.methods[name]
                if self.reasons.get(name) == other.reasons.get(name) and name in self.reasons:
                    same.reasons[name] = self.reasons[name]
            else:
                why = self.reasons.get(name) or other.reasons.get(name) or "a second random point was not decided"
                same.reasons[name] = DISAGREE if mine and theirs else why
        return same


def decide(question: Question, outcome: Rank, rng: np.random.Generator, budget: Budget) -> Decision:
    """Runs the portfolio.

    Args:
        question, outcome: of the local test. rng: of the points and primes. budget: time limit of everything.
    """
    steps = plan(question, outcome)
    found = Findings(steps.identifiable)
    if question.cofactor > 1:
        answer = global_with_functions(question, outcome, rng, budget)
        found.add(answer.verdicts, RATIONAL)
        found.leave(answer.reason)
        unique = tuple(map(sympy.Symbol, found.verdicts))
        complete = len(unique) == len(question.unknowns)
        return _decision(found, answer, Generators(unique, complete, "" if complete else FUNCTIONS))
    answer, learned = Answer({}, "", {}, steps), None
    for alone, together in TURNS:
        attempt = global_identifiability(question, outcome, rng, budget.part(min(alone, budget.left / 2)))
        found.add(attempt.verdicts, TAYLOR, attempt.words)
        if not found.open or attempt.final:
            found.leave(attempt.reason)
            answer = attempt
            break
        answer, learned = _by_equations(question, outcome, rng, budget, together, found)
        if not found.open or budget.left <= 0:
            break
    steps = replace(steps, orders=answer.steps.orders)
    single = not found.several
    if found.names and not found.verdicts:
        generators = Generators((), False, next(iter(found.reasons.values()), ""))
    else:
        unique = tuple(name for name in question.unknowns if found.verdicts.get(name) == "global")
        generators = combinations(question, steps, rng, budget, unique, learned, single=answer.degree == 1)
    return _decision(found, answer, generators, single)


def _decision(found: Findings, answer: Answer, generators: Generators, single: bool = True) -> Decision:
    verdicts = dict.fromkeys(found.names, "undecided") | found.verdicts
    probability = estimated_failure(answer) if found.verdicts else 0.0
    return Decision(
        verdicts, found.methods, found.reasons, generators, single, answer.repeats if found.verdicts else 0, probability
    )


def estimated_failure(answer: Answer) -> float:
    """The chance that all points were special ones, if these are the zeros of a polynomial of moderate degree.

    The degree that is supposed is that of the equations, times that of the fibre; by Schwartz and Zippel a random point
    modulo a prime p is one of its zeros with probability degree/p. The degree that is proved to be enough (Hong et al.
    2020, theorem 4.2) is exponential in the number of equations, and would need primes that no basis is fast for.
    """
    degree = max(answer.size, 1) * max(answer.degree, 1)
    return min(1.0, degree / 2.0 ** (SMALL_BITS - 1)) ** max(answer.repeats, 1)


# input-output equations ----------------------------------------------------------------------------------------------


def _by_equations(question, outcome, rng, budget: Budget, seconds: float, found: Findings):
    """Two rounds, modulo two primes, of equations and then the Taylor system with what they tell.

    Returns:
        the last answer; what the equations told (None if there are none in time).
    """
    steps = plan(question, outcome)
    answer = Answer({}, "", {}, steps)
    rounds: list[Findings] = []
    learned = None
    for limit in (budget.part(seconds), budget):
        one = Findings(found.open)
        try:
            # a full Wronskian at one point and prime is a proof
            learned = learn(question, steps, rng, limit, (learned is not None and learned.single) or None)
        except Undecided as problem:
            if not rounds:
                found.leave(str(problem))
                return answer, None
            break
        if learned.explicit:
            one.add(learned.verdicts, EXPLICIT, learned.words)
            answer = replace(answer, degree=learned.degree, size=learned.size)
        elif learned.single:
            one.add(learned.verdicts, EQUATIONS)
            if one.open or "local" in one.verdicts.values():
                answer = _with_knowledge(question, steps, outcome, rng, limit, one, learned)
        else:
            one.leave("the input-output equations need several experiments")
        rounds.append(one)
    agreed = rounds[0].agreed(rounds[1]) if len(rounds) > 1 else rounds[0]
    answer = replace(answer, repeats=len(rounds), size=max(answer.size, learned.size))
    for name in agreed.verdicts:
        found.verdicts[name], found.methods[name] = agreed.verdicts[name], agreed.methods[name]
        found.reasons.pop(name, None)
    found.reasons |= {name: text for name, text in agreed.reasons.items() if text}
    if learned.single:
        return answer, learned
    # one experiment may still tell: the Taylor system has all the time that is left
    last = global_identifiability(question, outcome, rng, budget)
    found.add(last.verdicts, TAYLOR, last.words)
    others = {name: "global" for name in found.open if learned.verdicts.get(name) == "global"}
    found.add(others, EQUATIONS)
    found.reasons |= dict.fromkeys(others, SEVERAL)
    found.several |= set(others)
    return (last if last.repeats else answer), learned


def _with_knowledge(question, steps, outcome, rng, budget: Budget, one: Findings, learned: Learned) -> Answer:
    """The Taylor system with known functions."""
    unique = tuple(name for name in learned.knowledge.unique if name in steps.identifiable)
    knowledge = replace(learned.knowledge, unique=unique)
    answer = global_identifiability(question, outcome, rng, budget, knowledge=knowledge, repeats=1)
    one.add(answer.verdicts, BOTH, answer.words)
    one.leave(answer.reason)
    return answer
