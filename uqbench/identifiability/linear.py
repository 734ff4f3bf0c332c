"""Linear systems: transfer functions with symbolic coefficients, their poles, and what each coefficient says.

Where the equations are linear in the states, x' = A x + B u, y = C x + D u, everything that the outputs can ever show
is in the coefficients of the transfer functions H(s) = C (s I - A)^-1 B + D, reduced and with a monic denominator
(Bellman & Astrom 1970, doi:10.1016/0025-5564(70)90132-X). The roots of a denominator are the poles, the rates at which
the output decays: data give them as a set, without telling which rate belongs to which step. Only a numerator, whose
zeros and gain depend on the place of a rate, can tell them apart.

Exact throughout: the matrices are read from the functions that are simulated, decimals as the decimals that they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy
import xarray as xr
from sympy.polys.matrices import DomainMatrix
from sympy.polys.polyerrors import CoercionFailed

from ..design import Design
from ..errors import InputError
from ..model import Model
from ..symbols import SymbolicModel, exact, read
from .coefficient_map import CoefficientMap

INPUTS = ("constant", "functions")
START, STEP = "start", "step"
LAPLACE = ("s", "z", "laplace")
# Roots of higher polynomials have no formula (Abel 1826).
LARGEST_SOLVED_DEGREE = 4


@dataclass(frozen=True)
class TransferFunction:
    """A quotient of polynomials without a common factor.

    Args:
        variable: of the Laplace transform.
        numerator, denominator: coefficients of falling powers of `variable`; the denominator begins with 1.
    """

    variable: sympy.Symbol
    numerator: tuple[sympy.Expr, ...]
    denominator: tuple[sympy.Expr, ...]

    @property
    def expression(self) -> sympy.Expr:
        """The quotient itself."""
        return self._polynomial(self.numerator) / self._polynomial(self.denominator)

    @cached_property
    def factors(self) -> dict[sympy.Poly, int]:
        """The irreducible factors of the denominator over the rational functions of the parameters, with powers."""
        cleared = sympy.numer(sympy.together(self._polynomial(self.denominator)))
        listed = sympy.factor_list(cleared)[1]
        return {sympy.Poly(f, self.variable): power for f, power in listed if f.has(self.variable)}

    @cached_property
    def poles(self) -> dict[sympy.Expr, int]:
        """The poles that have a formula, with their multiplicities: those of factors up to degree 4."""
        out: dict[sympy.Expr, int] = {}
        for factor, power in self.factors.items():
            if factor.degree() <= LARGEST_SOLVED_DEGREE:
                out |= {root: power * count for root, count in sympy.roots(factor).items()}
        return out

    @property
    def unsolved(self) -> tuple[sympy.Poly, ...]:
        """The factors of the denominator whose roots have no formula."""
        return tuple(factor for factor in self.factors if factor.degree() > LARGEST_SOLVED_DEGREE)

    def _polynomial(self, coefficients: tuple[sympy.Expr, ...]) -> sympy.Expr:
        top = len(coefficients) - 1
        return sum((c * self.variable ** (top - k) for k, c in enumerate(coefficients)), sympy.Integer(0))

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {sympy.latex(self.expression)}$"


@dataclass(frozen=True)
class LinearSystem:
    """A model that is linear in its states: x' = A x + B u, y = C x + D u, in symbols.

    Args:
        states, sources, outputs: names of the rows and columns. A source is an input in the right-hand side (by its
            name), an input in the initial state (by its name, or `name(start)` where it is both), "start" for the rest
            of the initial state and "step" for constant production or offset, as a unit step.
        impulses: the sources that act as an impulse at the start.
        A, B, C, D: `(states, states)`, `(states, sources)`, `(outputs, states)`, `(outputs, sources)`.
        functions: (output, source) -> transfer function; that of "step" includes the factor 1/s of a step.
        response: output -> Laplace transform of the output itself, all inputs constant.
        coefficients: name -> identifiable function of the parameters: the coefficients that are not numbers.
        parameters: the unknowns: free parameters that enter the equations. inputs: "constant" or "functions".
        known: symbols of the inputs, which count as known numbers where they stand in a coefficient.
    """

    states: tuple[str, ...]
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    impulses: tuple[str, ...]
    A: sympy.Matrix
    B: sympy.Matrix
    C: sympy.Matrix
    D: sympy.Matrix
    functions: Mapping[tuple[str, str], TransferFunction]
    response: Mapping[str, TransferFunction]
    coefficients: Mapping[str, sympy.Expr]
    parameters: tuple[str, ...]
    known: tuple[sympy.Symbol, ...]
    inputs: str

    def __getitem__(self, pair: tuple[str, str]) -> TransferFunction:
        """The transfer function to an output from a source: `system["y", "dose"]`."""
        if pair not in self.functions:
            known = ", ".join(map(str, self.functions))
            raise InputError("transfer function", [f"there is none for {pair}; known (output, source) are {known}."])
        return self.functions[pair]

    def _repr_latex_(self) -> str:
        rows = [f"H_{{\\mathrm{{{_plain(o)} \\leftarrow {_plain(i)}}}}} &= {sympy.latex(f.expression)}"
                for (o, i), f in self.functions.items()]  # fmt: skip
        return "$$\\begin{aligned}" + r" \\ ".join(rows) + "\\end{aligned}$$"


def _plain(name: str) -> str:
    return name.replace("_", r"\_")


def transfer_function(model: Model, design: Design | None = None, *, inputs: str = "constant") -> LinearSystem:
    """The transfer functions of a model whose equations are linear in its states, with symbolic coefficients.

    Args:
        model: a model with an `Ode` system; the outputs with noise count as measured (all, if none has any). Fixed
            parameters are known numbers.
        design: shapes of the inputs; not needed where they are single numbers.
        inputs: which coefficients the data show. "constant": those of the whole response, the inputs being known
            numbers; "functions": those of each input in the right-hand side by itself, because it varies in time.

    Returns:
        a `LinearSystem`; in a notebook it shows its transfer functions.

    Raises:
        InputError: naming every term that is not linear in the states, depends on time, or is not rational in the
            parameters; a system with doses or switches.

    Example:
        >>> from forward_models.two_scale_cascade import model
        >>> system = transfer_function(model)
        >>> system["y", "impulse"].denominator
        (1, kf + ks, kf*ks)
        >>> list(system["y", "impulse"].poles)
        [-kf, -ks]
    """
    subject = f"transfer function of {model.name!r}" if model.name else "transfer function"
    if inputs not in INPUTS:
        raise InputError(subject, [f"inputs={inputs!r}; known are {', '.join(map(repr, INPUTS))}."])
    if model.dynamics.scheduled_events:
        raise InputError(subject, ["doses and switches are not read; let the dose be part of the initial state."])
    symbolic = read(model, design)
    fixed = {symbolic.symbols[name]: _rational(float(model.space[name].dist)) for name in model.space.fixed}
    outputs = tuple(name for name in symbolic.outputs if name in model.noise) or symbolic.outputs
    parts = {"rhs": symbolic.rhs, "initial": symbolic.initial,
             "observe": {name: symbolic.observe[name] for name in outputs}}  # fmt: skip
    parts = {part: {name: _exact(e, fixed) for name, e in expressions.items()} for part, expressions in parts.items()}
    if findings := _findings(symbolic, parts, inputs):
        raise InputError(subject, findings)
    states = [symbolic.symbols[name] for name in symbolic.states]
    known = tuple(symbolic.symbols[name] for name in symbolic.inputs)
    A = sympy.Matrix([[sympy.diff(right, x) for x in states] for right in parts["rhs"].values()])
    C = sympy.Matrix([[sympy.diff(right, x) for x in states] for right in parts["observe"].values()])
    rest = dict.fromkeys(states, sympy.Integer(0))
    forcing = _column(parts["rhs"][name].xreplace(rest) for name in symbolic.states)
    start = _column(parts["initial"][name] for name in symbolic.states)
    offset = _column(right.xreplace(rest) for right in parts["observe"].values())
    variable = sympy.Symbol(next(name for name in LAPLACE if name not in symbolic.symbols))
    sources = _sources(forcing, start, offset, known)
    columns = [*sources.values(), ("", start + forcing / variable, offset / variable)]
    solved = _resolvent(subject, A, C, columns, variable)
    functions = {(output, source): solved[i][j] for i, output in enumerate(outputs) for j, source in enumerate(sources)}
    response = {output: solved[i][-1] for i, output in enumerate(outputs)}
    shown = response
    if inputs == "functions":
        idle = start + forcing.xreplace(dict.fromkeys(known, sympy.Integer(0))) / variable
        resting = _resolvent(subject, A, C, [("", idle, offset / variable)], variable)
        shown = {f"{output} at rest": row[0] for output, row in zip(outputs, resting, strict=True)}
        driving = {name for name, (kind, _, _) in sources.items() if kind == "function"}
        shown |= {f"{o} from {name}": function for (o, name), function in functions.items() if name in driving}
    entering = set().union(*(e.free_symbols for part in parts.values() for e in part.values()))
    parameters = tuple(name for name in model.space.free if symbolic.symbols[name] in entering)
    return LinearSystem(
        states=symbolic.states,
        sources=tuple(sources),
        outputs=outputs,
        impulses=tuple(name for name, (kind, _, _) in sources.items() if kind == "impulse"),
        A=A,
        B=sympy.Matrix.hstack(*(b for _, b, _ in sources.values())) if sources else sympy.zeros(len(states), 0),
        C=C,
        D=sympy.Matrix.hstack(*(d for _, _, d in sources.values())) if sources else sympy.zeros(len(outputs), 0),
        functions=functions,
        response=response,
        coefficients=_coefficients(shown, {symbolic.symbols[name] for name in parameters}),
        parameters=parameters,
        known=known,
        inputs=inputs,
    )


def linear_identifiability(
    model: Model, design: Design | None = None, *, inputs: str = "constant", seed: int = 0
) -> xr.Dataset:
    """Which parameters the coefficients of the transfer functions fix, and all other values that give the same ones.

    Args:
        model, design, inputs: as in `transfer_function`.
        seed: of the random points at which the rank and the number of solutions are found.

    Returns:
        by `parameter` (the free ones in the equations): `verdict` "global", "local", "none" or "undecided"; `values`,
        the number of complex values that give the same outputs (0 where there are infinitely many or it is not
        known); `fixed_by` (parameter, coefficient), whether a coefficient is in the smallest set that determines it up
        to finitely many values; `alternatives`, what else it may be, in terms of the true values, where there are
        formulas for all; `reason` in words. By `coefficient`: its `expression` as text. Attributes: `rank` and all
        `solutions` as text (with the parameters `held` at their true values where there is a continuum),
        `failure_probability` of the rank, `method`.

    Raises:
        InputError: as `transfer_function`.

    Example:
        >>> from forward_models.two_scale_cascade import model
        >>> linear_identifiability(model).alternatives.sel(parameter="kf").item()
        'ks'
    """
    system = transfer_function(model, design, inputs=inputs)
    return CoefficientMap(system.coefficients, system.parameters, system.known).verdicts(seed)


def _rational(value: float) -> sympy.Rational:
    number = exact(value)
    return sympy.Rational(number.numerator, number.denominator)


def _exact(expression: sympy.Expr, fixed: Mapping) -> sympy.Expr:
    return sympy.expand(expression.xreplace(fixed)) if expression.free_symbols else expression


def _column(entries: Iterable[sympy.Expr]) -> sympy.Matrix:
    return sympy.Matrix([[entry] for entry in entries])


def _findings(symbolic: SymbolicModel, parts: Mapping[str, Mapping[str, sympy.Expr]], inputs: str) -> list[str]:
    """Every term that a linear system does not have."""
    states = {symbolic.symbols[name] for name in symbolic.states}
    known = {symbolic.symbols[name] for name in symbolic.inputs}
    symbols = [*symbolic.symbols.values(), symbolic.time]
    findings = []
    for part, expressions in parts.items():
        for name, expression in expressions.items():
            where = f"{part} of {name!r}"
            for term in sympy.Add.make_args(expression):
                slopes = [sympy.cancel(sympy.diff(term, x)) for x in term.free_symbols & states]
                if any(slope.free_symbols & states for slope in slopes):
                    findings.append(f"{where} is not linear in the states: {term}")
                if symbolic.time in term.free_symbols:
                    findings.append(f"{where} depends on time: {term}; make what drives the system an input.")
                if not term.is_rational_function(*symbols):
                    findings.append(
                        f"{where} is not rational in its symbols: {term}; give the value a name of its own."
                    )
                if inputs == "functions" and part == "rhs":
                    if any(slope.free_symbols & known for slope in slopes):
                        findings.append(f"{where} multiplies a state by an input that varies in time: {term}")
                    elif any(sympy.diff(term, u).free_symbols & known for u in known):
                        findings.append(f"{where} is not linear in the inputs: {term}")
    return findings


def _sources(forcing, start, offset, known) -> dict[str, tuple[str, sympy.Matrix, sympy.Matrix]]:
    """Name -> (kind, column of B, column of D) of everything that drives the system."""
    none, out = sympy.zeros(offset.rows, 1), {}
    free = dict.fromkeys(known, sympy.Integer(0))

    def split(vector):
        """By input where the vector is affine in the inputs, and the rest."""
        columns = {u: vector.diff(u) for u in known if vector.has(u)}
        if any(column.has(*known) for column in columns.values()):
            return {}, vector
        return columns, vector.xreplace(free)

    (driven, constant), (given, first) = split(forcing), split(start)
    out |= {str(u): ("function", column, none) for u, column in driven.items()}
    for u, column in given.items():
        out[f"{u}(start)" if str(u) in out else str(u)] = ("impulse", column, none)
    if any(first):
        out[START] = ("impulse", first, none)
    if any(constant) or any(offset):
        out[STEP] = ("step", constant, offset)
    return out


def _resolvent(subject, A, C, columns, variable) -> list[list[TransferFunction]]:
    """C (s I - A)^-1 b + d for each (kind, b, d), with the factor 1/s where the kind is a step."""
    right = sympy.Matrix.hstack(*(b for _, b, _ in columns))
    symbols = (A.free_symbols | C.free_symbols | right.free_symbols).union(*(d.free_symbols for _, _, d in columns))
    names = sorted(symbols - {variable}, key=str)
    field = sympy.QQ.frac_field(variable, *names)
    try:
        matrix, b, c = (
            DomainMatrix.from_Matrix(m).convert_to(field) for m in (variable * sympy.eye(A.rows) - A, right, C)
        )
        direct = [[field.from_sympy(entry) for entry in d] for _, _, d in columns]
    except CoercionFailed as error:
        raise InputError(
            subject, [f"a coefficient is not a rational function with rational numbers: {error}"]
        ) from None
    through = (c * matrix.lu_solve(b)).to_list()
    step, out = field.from_sympy(variable), []
    for i, row in enumerate(through):
        values = [value + direct[j][i] for j, value in enumerate(row)]
        values = [v / step if kind == "step" else v for v, (kind, _, _) in zip(values, columns, strict=True)]
        out.append([_normalised(field, value, variable) for value in values])
    return out


def _normalised(field, value, variable) -> TransferFunction:
    """A field element as a quotient with a monic denominator."""
    numerator, denominator = (sympy.Poly(part.as_expr(), variable) for part in (value.numer, value.denom))
    top = denominator.LC()
    parts = (tuple(_shortest(c / top) for c in polynomial.all_coeffs()) for polynomial in (numerator, denominator))
    return TransferFunction(variable, *parts)


def _shortest(expression: sympy.Expr) -> sympy.Expr:
    reduced = sympy.cancel(expression)
    return min((reduced, sympy.expand(reduced), sympy.factor(reduced)), key=sympy.count_ops)


def _coefficients(shown: Mapping[str, TransferFunction], unknown: set[sympy.Symbol]) -> dict[str, sympy.Expr]:
    """The coefficients that depend on an unknown, each once, under the first place where it stands."""
    found: dict[sympy.Expr, str] = {}
    for name, function in shown.items():
        for part, row in (("denominator", function.denominator), ("numerator", function.numerator)):
            for k, coefficient in enumerate(row):
                if coefficient.free_symbols & unknown:
                    power = len(row) - 1 - k
                    where = f"{part} {function.variable}^{power}"
                    found.setdefault(coefficient, f"{name}: {where}" if len(shown) > 1 else where)
    return {name: coefficient for coefficient, name in found.items()}
