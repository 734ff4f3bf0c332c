"""A model whose parameters are what can be known: combinations in place of the parameters that they are made of.

If the outputs depend on k and g only through kg = k g, then one of the two may be given any value, and the other
follows: the new model is the old one at k = kg / g with g held. None of the author's functions is rewritten; they are
called with the old parameters computed from the new ones. That the outputs really depend on the combinations only is
checked before the model is handed out.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations as subsets
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy.core.sympify import SympifyError

from ..annotations import Values
from ..design import Design
from ..distributions import Distribution, LogNormal
from ..errors import InputError, nearest
from ..space import Parameter, Space, Theta, aleatory, epistemic, fixed
from ..symbols import read
from .findings import output_findings
from .measurements import noise_values_of
from .running import evaluate_many, over_time

if TYPE_CHECKING:
    from .description import Model

CHECKS = 16
# Two solves of the same trajectory differ by about a hundred times the tolerance of a step.
SOLVES = 1e3
SMALLEST_TOLERANCE = 1e-9
# Midpoints of quantiles for the log-variance of a prior; of LogNormal(0, 1) it comes out as .99994.
QUANTILES = 20_000


@dataclass(frozen=True)
class Formulas:
    """Old parameters as formulas of new ones, kept as text so that a model can be sent to another process."""

    names: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]

    def __call__(self, theta: Values) -> Theta:
        """The old parameters beside the new ones."""
        values = _compiled(self.names, tuple(text for _, text in self.texts))(*(theta[name] for name in self.names))
        shape = jnp.broadcast_shapes(*(jnp.shape(theta[name]) for name in self.names))
        old = {name: jnp.broadcast_to(jnp.asarray(value, dtype=float), shape)
               for (name, _), value in zip(self.texts, values, strict=True)}  # fmt: skip
        return {**theta, **old}


@lru_cache
def _compiled(names: tuple[str, ...], texts: tuple[str, ...]) -> Callable:
    symbols = {name: sympy.Symbol(name) for name in names}
    expressions = [sympy.sympify(text, locals=symbols) for text in texts]
    return sympy.lambdify([symbols[name] for name in names], expressions, modules="jax")


@dataclass(frozen=True)
class Translated:
    """One of the author's functions, called with the old parameters; they are its argument number `place`."""

    function: Callable
    formulas: Formulas
    place: int

    def __call__(self, *arguments):
        arguments = list(arguments)
        arguments[self.place] = self.formulas(arguments[self.place])
        return self.function(*arguments)


@dataclass(frozen=True)
class WithOutputs:
    """`observe` with old parameters as further outputs, because the noise names them.

    Where there is none (a simulator), the outputs are what is observed.
    """

    function: Callable | None
    formulas: Formulas
    extra: tuple[str, ...]

    def __call__(self, y, theta, **more):
        old = self.formulas(theta)
        outputs = y if self.function is None else self.function(y, old, **more)
        return {**outputs, **{name: old[name] for name in self.extra}}

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the function: `observe` is given what it asks for by name."""
        return inspect.signature(WithOutputs.__call__ if self.function is None else self.function)


def reparametrised(
    model: "Model",
    combinations: Mapping[str, str],
    *,
    priors: Mapping[str, Parameter | Distribution] | None = None,
    design: Design | None = None,
    seed: int = 0,
) -> "Model":
    """The same model in new parameters that are combinations of old ones.

    As many old parameters as there are fewer new ones are held, at their medians (rounded; any value would do); the
    others are solved for exactly. Parameters that no combination contains stay as they are; a combination that is just
    an old parameter under its own name keeps that one.

    Args:
        model: with a system or a plain simulator.
        combinations: new name -> expression in old parameters, e.g. `{"kg": "k*g"}`.
        priors: new name -> `Parameter` (distribution, unit, role), or only its distribution. Where none is given, a
            product of powers of positive parameters with numbers as arguments gets LogNormal with the median that
            follows from theirs and the variance of its logarithm (exact for LogNormal), independent of the others.
        design: under which the outputs are compared; default ten times up to 1 with every input set to 1.
        seed: of the random points.

    Returns:
        a `Model` with the same outputs. Old parameters that the noise names and that are not among the new ones are
        outputs without noise.

    Raises:
        InputError: names that do not exist or are taken; combinations that cannot be solved for the old parameters; a
            prior that is needed; outputs or noise that change when the combinations do not (the combinations are not
            sufficient).

    Example:
        >>> from forward_models.product_rate import model
        >>> reparametrised(model, {"kg": "k*g"}).space["kg"].dist.arguments["median"]
        2.0
    """
    subject = f"reparametrisation of {model.name!r}" if model.name else "reparametrisation"
    kept, expressions = _expressions(subject, model, combinations)
    replaced = tuple(dict.fromkeys(str(x) for e in expressions.values() for x in sorted(e.free_symbols, key=str)))
    replaced = tuple(name for name in model.space.names if name in replaced and name not in kept)
    if not expressions:
        return model
    solved = _solved(subject, model.space, expressions, replaced, kept)
    space = _space(subject, model.space, expressions, replaced, dict(priors or {}))
    texts = tuple((name, str(solved[name])) for name in replaced)
    needed = tuple(dict.fromkeys(str(x) for value in solved.values() for x in value.free_symbols)) or (*expressions,)
    formulas = Formulas(tuple(sorted(needed, key=space.names.index)), texts)
    new = _translated(model, space, formulas, solved)
    _compare(subject, model, new, expressions, design, seed)
    return new


def _expressions(subject: str, model: "Model", given: Mapping[str, str]):
    """The combinations that stay as old parameters, and the expressions of the others."""
    space, findings = model.space, []
    symbols = {name: sympy.Symbol(name) for name in space.names}
    kept, expressions = set(), {}
    for name, text in given.items():
        try:
            expression = sympy.sympify(text, locals=symbols)
        except (SympifyError, TypeError, SyntaxError, AttributeError):
            findings.append(f"{name!r}: {text!r} is no expression; write it like 'k*g'.")
            continue
        if not isinstance(expression, sympy.Expr):
            findings.append(f"{name!r}: {text!r} is no expression; write it like 'k*g'.")
            continue
        unknown = sorted(str(x) for x in expression.free_symbols if str(x) not in space)
        findings += [f"{name!r}: unknown parameter {other!r}; {nearest(other, space.names)}" for other in unknown]
        if not unknown and not expression.free_symbols:
            findings.append(f"{name!r}: {text!r} contains no parameter.")
        if expression == symbols.get(name):
            kept.add(name)
        elif name in space or name in model.outputs:
            what = "a parameter" if name in space else "an output"
            findings.append(f"{name!r} is already {what} of the model; choose another name.")
        elif not (name.isidentifier()):
            findings.append(f"{name!r} is no name.")
        else:
            expressions[name] = expression
    if findings:
        raise InputError(subject, findings)
    return kept, expressions


def _positive(parameter: Parameter) -> bool:
    """Whether its values are positive whatever the values of the parameters that its distribution names."""
    if not isinstance(parameter.dist, Distribution):
        return parameter.dist > 0
    values = dict.fromkeys(parameter.names, 1.0)
    return bool(np.all(np.asarray(parameter.dist.support(values)[0]) >= 0))


def _solved(subject: str, space: Space, expressions, replaced, kept) -> dict[str, sympy.Expr]:
    """Every replaced parameter in terms of the new ones, some of them held at numbers."""
    if len(expressions) > len(replaced):
        raise InputError(subject, [f"{len(expressions)} combinations of the {len(replaced)} parameters "
                                   f"{', '.join(replaced)} depend on each other; give fewer."])  # fmt: skip
    symbols = {name: sympy.Symbol(name) for name in space.names}
    stand_ins = {symbols[name]: sympy.Dummy(name, positive=_positive(space[name]) or None, real=True)
                 for name in replaced}  # fmt: skip
    equations = [e.xreplace(stand_ins) - sympy.Symbol(new) for new, e in expressions.items()]
    # A parameter that is fixed anyway is the first to be held.
    order = sorted(replaced, key=lambda name: (name not in space.fixed, -space.names.index(name)))
    nominal = space.nominal()
    for held in subsets(order, len(replaced) - len(expressions)):
        numbers = {name: _number(float(nominal[name]), name in space.fixed) for name in held}
        values = {stand_ins[symbols[name]]: value for name, value in numbers.items()}
        unknown = [stand_ins[symbols[name]] for name in replaced if name not in held]
        if any(x not in set().union(*(e.free_symbols for e in equations)) for x in unknown):
            continue
        try:
            solutions = sympy.solve([e.xreplace(values) for e in equations], unknown, dict=True)
        except NotImplementedError:
            continue
        if len(solutions) == 1 and set(solutions[0]) == set(unknown):
            back = {stand_in: symbol for symbol, stand_in in stand_ins.items()}
            solution = {str(back[x]): sympy.cancel(value) for x, value in solutions[0].items()}
            return {name: numbers[name] if name in numbers else solution[name] for name in replaced}
    raise InputError(subject, [f"no choice of parameters to hold lets {', '.join(expressions)} be solved for the rest "
                               f"of {', '.join(replaced)} in one way; give simpler combinations."])  # fmt: skip


def _number(value: float, known: bool) -> sympy.Rational:
    """A held value: as it is where it is known, else to three digits, since any other would do."""
    return sympy.Rational(repr(value) if known else f"{value:.3g}")


def _space(subject: str, old: Space, expressions, replaced, priors) -> Space:
    findings = [f"priors: {name!r} is none of the new parameters; {nearest(name, [*expressions])}"
                for name in priors if name not in expressions]  # fmt: skip
    for name in old.names:
        findings += [f"the distribution of {name!r} names {other!r}, which is replaced; leave it, or replace both."
                     for other in old[name].names if other in replaced and name not in replaced]  # fmt: skip
    new = {}
    for name, expression in expressions.items():
        prior = priors.get(name)
        if isinstance(prior, Parameter):
            new[name] = prior
            continue
        roles = {old[str(x)].role for x in expression.free_symbols} - {"fixed"}
        unit = _unit(old, expression)
        doc = f"{expression} of the original model"
        if isinstance(prior, Distribution):
            new[name] = (aleatory if roles == {"aleatory"} else epistemic)(prior, unit, doc)
            continue
        dist, finding = _default(old, expression, roles)
        if finding:
            findings.append(f"{name!r} needs a prior, since {finding}; give priors={{{name!r}: ...}}.")
        elif not isinstance(dist, Distribution):
            new[name] = fixed(dist, unit, doc)
        else:
            new[name] = (aleatory if roles == {"aleatory"} else epistemic)(dist, unit, doc)
    if findings:
        raise InputError(subject, findings)
    # in the place of the last one replaced, after everything that a given prior may name
    last = max(old.names.index(name) for name in replaced)
    entries = [(name, old[name]) for name in old.names if name not in replaced]
    before = [(name, p) for name, p in entries if old.names.index(name) < last]
    return Space(dict([*before, *new.items(), *entries[len(before):]]))  # fmt: skip


def _default(space: Space, expression: sympy.Expr, roles: set[str]):
    """LogNormal for a monomial of positive parameters (a number where all are fixed), or why there is none."""
    factor, powers = expression.as_coeff_Mul()[0], expression.as_powers_dict()
    powers = {str(x): power for x, power in powers.items() if x.free_symbols}
    if factor <= 0 or any(name not in space for name in powers) or not all(p.is_number for p in powers.values()):
        return None, f"{expression} is no product of powers"
    if wrong := [name for name in powers if not _positive(space[name])]:
        return None, f"{', '.join(wrong)} may be negative"
    if named := [name for name in powers if space[name].names]:
        return None, f"the distribution of {', '.join(named)} names other parameters"
    if len(roles) > 1:
        return None, f"{expression} mixes what is not known with what differs between units"
    nominal = space.nominal()
    median = float(factor) * np.prod([float(nominal[name]) ** float(power) for name, power in powers.items()])
    variance = sum(float(power) ** 2 * _log_variance(space[name].dist) for name, power in powers.items())
    # medians come from quantiles, good to the last digit or two
    median = float(f"{median:.14g}")
    return (LogNormal(median=median, sigma=float(np.sqrt(variance))), "") if variance else (median, "")


def _log_variance(dist: Distribution | float) -> float:
    """Variance of the logarithm."""
    if not isinstance(dist, Distribution):
        return 0.0
    if isinstance(dist, LogNormal):
        return float(dist.arguments["sigma"]) ** 2
    quantiles = dist.ppf((jnp.arange(QUANTILES) + 0.5) / QUANTILES, {})
    return float(jnp.var(jnp.log(quantiles)))


def _unit(space: Space, expression: sympy.Expr) -> str:
    """Product of the units in the first term."""
    term = sympy.Add.make_args(expression)[0]
    parts = []
    for factor, power in sorted(term.as_powers_dict().items(), key=lambda item: str(item[0])):
        unit = space[str(factor)].unit if str(factor) in space else ""
        if unit and power.is_number:
            enclosed = unit if unit.isidentifier() else f"({unit})"
            parts.append(enclosed if power == 1 else f"{enclosed}**({power})")
    return parts[0].strip("()") if len(parts) == 1 and "**" not in parts[0] else "*".join(parts)


def _translated(model: "Model", space: Space, formulas: Formulas, solved) -> "Model":
    """The model with its functions called by the new parameters, and the noise by their names."""
    renamed = {name: str(value) for name, value in solved.items() if value.is_Symbol}
    held = {name: float(value) for name, value in solved.items() if value.is_number}
    noise, extra = {}, {}
    for output, dist in model.noise.items():
        arguments = {}
        for argument, value in dist.arguments.items():
            if value in model.noise_expressions:
                formula = model.noise_expressions[value]
                extra |= {name: None for name in formula.names if name in set(solved) - set(renamed) - set(held)}
                value = formula.renamed({**renamed, **held}).text
            elif value in renamed or value in held:
                value = renamed.get(value, held.get(value))
            elif value in solved:
                extra[value] = None
            arguments[argument] = value
        noise[output] = type(dist)(**arguments)
    system = model.dynamics.translated(lambda function, place: Translated(function, formulas, place))
    observe = WithOutputs(model.observe, formulas, tuple(extra))
    units = {**model.units, **{name: model.space[name].unit for name in extra}}
    return replace(model, space=space, system=system, observe=observe, units=units, noise=noise, nominal={})


def _compare(subject: str, old: "Model", new: "Model", expressions, design: Design | None, seed: int) -> None:
    """Outputs and noise of the old model at random parameters against those of the new one at their combinations."""
    if design is None:
        inputs = read(old).inputs if "symbolic" in old.dynamics.capabilities else ()
        design = Design.linspace(0.1, 1.0, 10, inputs=dict.fromkeys(inputs, 1.0))
    for model in (old, new):
        if findings := output_findings(model, design):
            raise InputError(subject, [*findings, "give a `design` with the inputs that the model reads."])
    key = jax.random.key(seed)
    theta = old.space.sample(key, (CHECKS,))
    names = [str(x) for x in sorted(set().union(*(e.free_symbols for e in expressions.values())), key=str)]
    combine = sympy.lambdify([sympy.Symbol(name) for name in names], [*expressions.values()], modules="jax")
    mapped = dict(zip(expressions, combine(*(theta[name] for name in names)), strict=True))
    other = {name: mapped[name] if name in mapped else theta[name] for name in new.space.names}
    keys = jax.random.split(key, CHECKS) if old.stochastic else None
    first, second = (evaluate_many(m, values, design, keys) for m, values in ((old, theta), (new, other)))
    both = (np.asarray(first.result) == 0) & (np.asarray(second.result) == 0)
    if not np.any(both):
        raise InputError(
            subject, ["every run from the prior failed; give a `design` under which the model can be run."]
        )
    tolerance = max(SMALLEST_TOLERANCE, SOLVES * old.dynamics.rtol)
    findings = []
    for output in old.outputs:
        change = _change(first.outputs[output][both], second.outputs[output][both])
        if change > tolerance:
            findings.append(f"the output {output!r}")
    for output, dist in old.noise.items():
        arguments = []
        for m, values, run in ((old, theta, first), (new, other, second)):
            known = {name: value[both][:, None] for name, value in values.items()}
            known |= {name: value[both] for name, value in over_time(m, run.outputs, design).items()}
            arguments.append(m.noise[output].resolve(noise_values_of(m, known)))
        change = max(_change(arguments[0][name], arguments[1][name]) for name in dist.arguments)
        if change > tolerance:
            findings.append(f"the noise of {output!r}")
    if findings:
        held = ", ".join(f"{name} = {value}" for name, value in expressions.items())
        raise InputError(subject, [f"{finding} changes though {held} and all other parameters stay the same; "
                                   "the combinations are not sufficient." for finding in findings])  # fmt: skip


def _change(first, second) -> float:
    """Largest difference relative to the largest value of the same run."""
    first, second = np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
    if not first.size:
        return 0.0
    scale = np.max(np.abs(first), axis=-1, keepdims=True) if first.ndim else np.abs(first)
    return float(np.max(np.abs(first - second) / np.maximum(scale, 1e-300)))
