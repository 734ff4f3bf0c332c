"""Runs what JAX lists of a function (its *jaxpr*) on program entries in place of numbers.

Indexing, stacking, matrix products and nested calls dissolve, and the field operations remain. An operation whose
meaning would depend on the values (a comparison, an absolute value, a loop that ends when it likes) has no single
formula; it is refused by its name, together with what to write instead, after everything else was looked at.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax.extend.core import DropVar, Jaxpr, JaxprEqn, Literal

from .arrays import (
    POSITIONAL,
    REARRANGEMENTS,
    convolve,
    dot_general,
    elementwise,
    move_entries,
    reduce_axes,
    scan_axis,
    scatter_add,
)
from .formulas import FORMULAS
from .primitives import ARITHMETIC, COMPARISONS, DECISIONS, OTHER, REFUSALS, SWITCH
from .program import DivisionByZero, Node, Recorder, exact
from .stretches import Moment, chosen

CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr",
    "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"
}  # fmt: skip
IDENTITIES = ("copy", "copy_p", "stop_gradient", "reduce_precision", "device_put", "optimization_barrier", "name")


@dataclass(frozen=True)
class Undecided:
    """What is no field entry: the truth of a comparison that depends on the symbols, a complex number, a random key."""

    primitive: str


class Refused:
    """Stands where an operation was refused, so that the rest can still be looked at."""


REFUSED = Refused()


class Interpreter:
    """Runs jaxprs on object arrays of `Fraction`, `Node`, non-finite floats, `Undecided` and `REFUSED`.

    Args:
        recorder: where the operations are written down.
        subject: name of the author's function, for the findings.
        moment: decides what depends on time and inputs; without one it is refused.
    """

    def __init__(self, recorder: Recorder, subject: str, moment: Moment | None = None):
        self.recorder = recorder
        self.subject = subject
        self.moment = moment
        self.findings: dict[str, None] = {}
        self._calls: list[str] = []

    def run(self, jaxpr: Jaxpr, arguments: list[np.ndarray]) -> list[np.ndarray]:
        """Values of the outputs of a jaxpr; equations that no output needs are not looked at."""
        known = {var: entries(value, var.aval) for var, value in zip(jaxpr.constvars, jaxpr.consts, strict=True)}
        known |= dict(zip(jaxpr.invars, arguments, strict=True))

        def read(atom):
            return entries(atom.val, atom.aval) if isinstance(atom, Literal) else known[atom]

        for equation in needed_equations(jaxpr):
            outputs = self._equation(equation, [read(atom) for atom in equation.invars])
            known |= dict(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: JaxprEqn, operands: list[np.ndarray]) -> list[np.ndarray]:
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            return self._call(params[CALLS[name]], operands)
        if name == "cond" and isinstance(operands[0][()], Fraction):
            return self._call(params["branches"][int(operands[0][()])], operands[1:])
        if name in IDENTITIES:
            return operands
        if name in REARRANGEMENTS:
            outputs = REARRANGEMENTS[name](params, *operands)
            return outputs if isinstance(outputs, list) else [outputs]
        output = self._single(equation, name, operands)
        return [np.full(var.aval.shape, REFUSED) for var in equation.outvars] if output is None else [output]

    def _single(self, equation: JaxprEqn, name: str, operands: list[np.ndarray]) -> np.ndarray | None:
        """The one output of an equation, or None after a refusal."""
        params = equation.params
        if name == "call_hi_primitive":
            # a primitive that JAX keeps whole until it compiles
            name, params = type(params["_prim"]).__name__, params["_prim"].params
        if name in ARITHMETIC:
            return elementwise(self._guarded(ARITHMETIC[name](self.recorder, equation)), *operands)
        if name in COMPARISONS:
            return elementwise(lambda x, y: self._compare(name, x, y), *operands)
        if name in DECISIONS:
            return elementwise(lambda *given: self._decide(name, *given), *operands)
        if name in ("and", "or", "not") and equation.outvars[0].aval.dtype == bool:
            return elementwise(lambda *given: _logic(name, *given), *operands)
        if name == "convert_element_type":
            return elementwise(lambda x: self._convert(x, np.dtype(params["new_dtype"])), *operands)
        if name == "select_n":
            return elementwise(self._select, *operands)
        if name == "is_finite":
            return elementwise(lambda x: x if x is REFUSED else Fraction(not isinstance(x, float)), *operands)
        if name in POSITIONAL or name == "scatter-add":
            return self._move(equation, operands)
        add, mul = (self._guarded(getattr(self.recorder, operation)) for operation in ("add", "mul"))
        match name:
            case "dot_general":
                return dot_general(add, mul, params["dimension_numbers"], *operands)
            case "reduce_sum" | "reduce_prod":
                neutral, operation = (Fraction(0), add) if name == "reduce_sum" else (Fraction(1), mul)
                return reduce_axes(operation, neutral, operands[0], params["axes"])
            case "cumsum" | "cumprod":
                return scan_axis(add if name == "cumsum" else mul, operands[0], params["axis"], params["reverse"])
            case "conv_general_dilated":
                return convolve(add, mul, equation, operands)
            case "SearchSorted" if operands[0].ndim == 1 and not params.get("batch_dims"):
                return elementwise(lambda x: self._search(params["side"], operands[0], x), operands[1])
            case "polynomial":
                return self._horner(add, mul, *operands)
        return None if _tainted(operands) else self._refuse(name)

    def _call(self, jaxpr: Jaxpr, operands: list[np.ndarray]) -> list[np.ndarray]:
        name = jaxpr.debug_info.func_name if jaxpr.debug_info else ""
        if name == "logaddexp":
            # JAX guards log(e^a + e^b) against overflow by max and abs; the formula is what it means.
            return [elementwise(self._guarded(self._log_add_exp), *operands)]
        if name in FORMULAS:
            # found by cases, or with pivots, for the sake of digits; the formula is what it means
            given = [x for array in operands for x in array.ravel()]
            if not any(isinstance(x, Undecided | Refused) for x in given):
                return [self._guarded_formula(name, operands)]
        self._calls.append(name)
        outputs = self.run(jaxpr, operands)
        self._calls.pop()
        return outputs

    def _log_add_exp(self, x, y):
        return self.recorder.function("log", self.recorder.add(*(self.recorder.function("exp", z) for z in (x, y))))

    def _guarded_formula(self, name: str, operands: list[np.ndarray]) -> np.ndarray:
        try:
            return FORMULAS[name](self.recorder, *operands)
        except DivisionByZero:
            self._refuse(name)
            return np.full(operands[-1].shape, REFUSED)

    def _horner(self, add, mul, x, *coefficients):
        total = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            total = elementwise(lambda c, t, z: add(c, mul(t, z)), coefficient, total, x)
        return total

    def _guarded(self, operation: Callable) -> Callable:
        """`operation` on field entries; anything else is refused or passed on."""

        def guarded(*given):
            for x in given:
                if isinstance(x, Undecided):
                    self._refuse(x.primitive)
                elif isinstance(x, float):
                    self._find("lets nan or inf into its arithmetic; give a finite number.")
            if not all(isinstance(x, Fraction | Node) for x in given):
                return REFUSED
            try:
                return operation(*given)
            except DivisionByZero:
                self._find("divides by zero whatever the values; correct the formula.")
                return REFUSED

        return guarded

    def decided(self, x):
        """An entry as a result: a field entry, or a finding why it is none."""
        return self._guarded(lambda entry: entry)(x)

    def _compare(self, name: str, x, y):
        given = (x, y)
        if REFUSED in given:
            return REFUSED
        if x is y and not isinstance(x, float):
            return Fraction(name in ("le", "ge", "eq"))
        # A symbol stands for a finite number, so its comparison with an infinite one is decided.
        known = all(isinstance(z, Fraction | float) for z in given) or any(isinstance(z, float) for z in given)
        if not known or any(isinstance(z, Undecided) for z in given):
            outcome = self._outcome(name, given)
            return Undecided(name) if outcome is None else Fraction(outcome)
        return Fraction(COMPARISONS[name](*(Fraction(0) if isinstance(z, Node) else z for z in given)))

    def _decide(self, name: str, *given):
        if REFUSED in given:
            return REFUSED
        if all(isinstance(x, Fraction) for x in given):
            return Fraction(DECISIONS[name](*given))
        outcome = self._outcome(name, given)
        if outcome is None:
            return self._refuse(name) or REFUSED
        return chosen(self.recorder, name, outcome, given)

    def _outcome(self, name: str, given) -> int | None:
        """What an operation comes to at the moment that is looked at, if it is decided there."""
        if self.moment is None or not all(isinstance(x, Fraction | Node) for x in given):
            return None
        return self.moment.outcome(name, given)

    def _search(self, side: str, rows, value):
        """How many entries of a row that does not fall lie before a value, or at it where the side is "right"."""
        passed = [self._compare("le" if side == "right" else "lt", x, value) for x in rows]
        if REFUSED in passed:
            return REFUSED
        if not all(isinstance(x, Fraction) for x in passed):
            return self._refuse("SearchSorted") or REFUSED
        return sum(passed, Fraction(0))

    def _select(self, which, *cases):
        if which is REFUSED:
            return REFUSED
        if isinstance(which, Fraction):
            return cases[int(which)]
        if all(case is cases[0] or (isinstance(case, Fraction) and case == cases[0]) for case in cases):
            return cases[0]
        return self._refuse("select_n") or REFUSED

    def _convert(self, x, dtype: np.dtype):
        if isinstance(x, Fraction) and dtype.kind in "fiub":
            return x if dtype.kind == "f" else Fraction(bool(x) if dtype.kind == "b" else math.trunc(x))
        if isinstance(x, Fraction | Node) and dtype.kind != "f":
            return self._refuse("convert_element_type") or REFUSED
        return x

    def _move(self, equation: JaxprEqn, operands: list[np.ndarray]) -> np.ndarray | None:
        if equation.primitive.name == "scatter-add":
            moved = scatter_add(self._guarded(self.recorder.add), equation, operands)
        else:
            moved = move_entries(equation, operands)
        if moved is None and not _tainted(operands):
            self._find(f"uses `{equation.primitive.name}` with an index that depends on the values; use fixed indices.")
        return moved

    def _refuse(self, primitive: str) -> None:
        comparison = ("from a comparison used as a number", SWITCH)
        where, advice = REFUSALS.get(primitive, comparison if primitive in COMPARISONS else ("", OTHER))
        called = next((name for name in reversed(self._calls) if name.strip("_<>") not in ("", "where")), "")
        where = f"in {called}" if called and primitive not in ("select_n", *COMPARISONS) else where
        self._find(f"uses `{primitive}`{f' ({where})' if where else ''}: {advice}")

    def _find(self, finding: str) -> None:
        self.findings[f"{self.subject} {finding}"] = None


def _logic(name: str, *given):
    if REFUSED in given:
        return REFUSED
    decided = [bool(x) for x in given if isinstance(x, Fraction)]
    if name == "not":
        return Fraction(not decided[0]) if decided else given[0]
    settling = name == "or"
    if settling in decided or len(decided) == len(given):
        return Fraction(settling if settling in decided else not settling)
    return next(x for x in given if isinstance(x, Undecided))


def needed_equations(jaxpr: Jaxpr) -> list[JaxprEqn]:
    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if any(not isinstance(var, DropVar) and var in needed for var in equation.outvars):
            needed.update(atom for atom in equation.invars if not isinstance(atom, Literal))
            equations.append(equation)
    return equations[::-1]


def _tainted(operands: list[np.ndarray]) -> bool:
    """Whether something before was refused, so that a finding here would only repeat it."""
    return any(entry is REFUSED for operand in operands for entry in operand.ravel())


def entries(values, aval) -> np.ndarray:
    """A number or an array of numbers, of the type `aval`, as an object array of exact entries."""
    out = np.empty(aval.shape, dtype=object)
    if not any(jnp.issubdtype(aval.dtype, kind) for kind in (bool, jnp.integer, jnp.floating)):
        out[...] = Undecided(str(aval.dtype))
        return out
    values = np.asarray(values)
    for index in np.ndindex(values.shape):
        value = values[index]
        out[index] = Fraction(int(value)) if values.dtype.kind in "iub" else exact(value)
    return out
