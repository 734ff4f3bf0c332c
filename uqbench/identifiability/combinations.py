"""What can be known of unknowns that cannot be known by themselves: generators of all identifiable functions."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import sympy

from .budget import Budget, Undecided
from .elimination.shapes import coefficient_shapes, derivative_shapes
from .fibres.coefficient_fibre import Function
from .fibres.generators import Generators, identifiable_generators
from .fibres.taylor_fibre import Plan, sampler
from .learning import Learned, learn
from .symmetries import rational
from .taylor import Question

# Seconds for all, and for input-output equations that are made only for their shape.
SECONDS, EQUATIONS = 15.0, 4.0
WRITTEN_TERMS, WRITTEN = 120, 20


def combinations(
    question: Question, steps: Plan, rng: np.random.Generator, budget: Budget, unique: Sequence[str],
    learned: Learned | None, *, single: bool
) -> Generators:  # fmt: skip
    """Generators of all identifiable functions; at least those that are clear.

    Args:
        question, steps, rng: see `decide`. budget: time limit, of which a part is used.
        unique: unknowns with one value.
        learned: what input-output equations told, if they were made.
        single: whether the fibre of a random point is known to have no other point.
    """
    symbols = tuple(map(sympy.Symbol, unique))
    if len(unique) == len(question.unknowns):
        return Generators(symbols, True, "")
    limit = budget.part(SECONDS)
    if learned is None:
        with suppress(Undecided):
            learned = learn(question, steps, rng, limit.part(EQUATIONS))
    try:
        draw, given = _sampler(question, steps, rng, limit, learned, single)
        names, explicit = question.unknowns, learned.explicit if learned else None
        out = identifiable_generators(
            draw, limit, coefficients=coefficient_shapes(learned.tables, names) if learned else (),
            derivatives=derivative_shapes(explicit.derivatives, names) if explicit else (), given=given,
        )  # fmt: skip
    except Undecided as problem:
        return Generators(symbols, False, str(problem))
    except Exception as problem:
        # combinations are an addition: whatever goes wrong while they are looked for, the verdicts stand
        return Generators(symbols, False, f"the search for combinations failed ({type(problem).__name__}: {problem})")
    missing = tuple(symbol for symbol in symbols if symbol not in out.expressions)
    return replace(out, expressions=(*missing, *out.expressions))


def _sampler(question, steps: Plan, rng, budget: Budget, learned: Learned | None, single: bool):
    """What draws samples, and functions that are known to be identifiable."""
    if learned is None or not learned.single:
        return sampler(question, steps, rng, budget, single=single), []
    knowledge = replace(learned.knowledge, unique=())
    functions: Sequence[Function] = knowledge.functions
    if learned.explicit is not None and not question.program.inputs:
        functions = sorted(learned.explicit.functions(rng), key=lambda function: function.size)
    texts = [expression(function, question.unknowns, knowledge.prime) for function in functions[:WRITTEN]]
    given = [text for text in texts if text is not None]
    if learned.explicit is None:
        return sampler(question, steps, rng, budget, knowledge=knowledge, single=single), given
    known = [name for name in learned.knowledge.unique if name in steps.identifiable]
    return lambda: learned.explicit.sample(rng, budget, known=known, fixed=steps.fixed), given


def expression(function: Function, names: Sequence[str], prime: int) -> sympy.Expr | None:
    """A function with rational coefficients in place of residues, if it is a short one that has them."""
    if function.size[1] > WRITTEN_TERMS:
        return None
    scale = pow(next(iter(function.denominator.values())), -1, prime)
    parts = []
    for part in (function.numerator, function.denominator):
        total = sympy.Integer(0)
        for monomial, number in part.items():
            fraction = rational(number * scale % prime, prime)
            if fraction is None:
                return None
            powers = (sympy.Symbol(names[k]) ** power for k, power in monomial)
            total += sympy.Rational(fraction.numerator, fraction.denominator) * sympy.Mul(*powers)
        parts.append(total)
    return sympy.cancel(parts[0] / parts[1])
