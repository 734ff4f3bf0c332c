"""What measurements are of: noise written as formulas, columns of the table, increments between observations."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import jax
import jax.numpy as jnp
from jax import Array

from ..distributions.expressions import Expression, expression_findings, expression_of
from ..errors import nearest
from ..initial_value.array_states import as_written as with_arrays
from ..system import Ode
from ..units import unit_finding

if TYPE_CHECKING:
    from .description import Model

# Columns that every table of data has.
TABLE = ("experiment", "output", "time", "value")


def noise_expressions(model: "Model") -> dict[str, Expression]:
    """Text -> formula, of the arguments of noise distributions that are formulas."""
    known = {*model.space.names, *model.units, *model.columns}
    texts = [name for noise in model.noise.values() for name in noise.names if name not in known]
    return {text: found for text in texts if (found := expression_of(text)) is not None}


def noise_findings(model: "Model") -> list[str]:
    """What is wrong with the noise of a model, with the columns that it names, and with its increments."""
    findings, known = [], (*model.space.names, *model.units, *model.columns)
    for output, distribution in model.noise.items():
        if output not in model.units:
            findings.append(f"noise is given for {output!r}, which has no unit; {nearest(output, [*model.units])}")
        names = list(dict.fromkeys(distribution.names))
        for text, expression in ((name, model.noise_expressions.get(name)) for name in distribution.names):
            if expression is None:
                continue
            names.remove(text)
            names += [name for name in expression.names if name not in names]
            findings += [f"the noise of {output!r}, {text!r}: {each}." for each in expression_findings(expression)]
        if distribution.of_draws:
            findings += _of_draws_findings(model, output, names)
        elif not set(names) & set(model.units):
            findings.append(f"the noise of {output!r} names no output, so the data would not depend on the model.")
        findings += [
            f"the noise of {output!r} names {other!r}, neither a parameter nor an output"
            f"{' nor one of the `columns`' if model.columns else ''}; {nearest(other, known)}"
            for other in names
            if other not in known
        ]
    return findings + _column_findings(model) + _increment_findings(model)


def _of_draws_findings(model: "Model", output: str, names: Sequence[str]) -> list[str]:
    """What is wrong with noise that disturbs draws from an output's own distribution."""
    noise, findings = model.noise[output], []
    if output in model.units and output not in model.dynamics.random_outputs(model):
        findings.append(
            f"the noise of {output!r}, {noise!r}, disturbs draws from its distribution, of which {model.dynamics.kind} "
            "gives none; the `master_equation()` of a network does."
        )
    findings += [
        f"the noise of {output!r} names {other!r}, {'an output' if other in model.units else 'a column'}; those of "
        f"{type(noise).__name__} are parameters."
        for other in names
        if other in model.units or other in model.columns
    ]
    return findings


def noise_values_of(model: "Model", values: Mapping[str, Array]) -> dict[str, Array]:
    """`values` of parameters and outputs, with those of formulas of the noise; columns of the table are 1."""
    known = {**values, **dict.fromkeys(model.columns, jnp.ones(()))}
    return known | {text: formula(known) for text, formula in model.noise_expressions.items()}


def _column_findings(model: "Model") -> list[str]:
    findings = [f"column {name!r}: {f}" for name, unit in model.columns.items() if (f := unit_finding(unit))]
    for kind, names in (("a parameter", model.space.names), ("an output", model.units), ("always in the table", TABLE)):
        findings += [f"the column {name!r} is {kind} too; rename it." for name in model.columns if name in names]
    named = {name for output in model.noise for name in model.noise_names(output)}
    findings += [f"the column {name!r} is named by no noise." for name in model.columns if name not in named]
    return findings


def _increment_findings(model: "Model") -> list[str]:
    findings = []
    for name in model.increments:
        if name not in model.units:
            findings.append(f"`increments` has {name!r}, which is no output; {nearest(name, [*model.units])}")
        elif model.output_dims[name] != ("time",):
            findings.append(f"`increments` has {name!r}, whose dims are {model.output_dims[name]}; give a time series.")
        elif name in model.dynamics.random_outputs(model):
            findings.append(f"`increments` has {name!r}, whose distribution the system gives as it is.")
    return findings


@dataclass(frozen=True)
class Measured:
    """`observe` with what measurements tell beside the outputs themselves, as functions of the states.

    Args:
        observe: of the author. system: without arrays taken apart.
        increments: outputs that are measured as increments. These at all times tell the rate at which the output
            changes, and this tells them, wherever it starts.
        formulas: name -> formula of parameters, outputs and columns.
        columns: of the table; they are known and differ between rows, as known functions of time do.
    """

    observe: Callable | None
    system: Ode
    increments: tuple[str, ...]
    formulas: tuple[tuple[str, Expression], ...]
    columns: tuple[str, ...]

    def __call__(self, y, p, t, inputs):
        assert self.observe is not None  # as an Ode has one
        observe = self.observe
        asked = inspect.signature(observe).parameters
        more = {"inputs": inputs} if "inputs" in asked else {}

        def outputs(time, states):
            at = {**more, "t": time} if "t" in asked else more
            return observe(self.system.complete(time, {**y, **states}, p, inputs), p, **at)

        found = dict(outputs(t, {}))
        if self.increments:
            slope = {name: jnp.asarray(each, float) for name, each in self.system.rhs(t, y, p, inputs).items()}
            states, one = {name: jnp.asarray(y[name], float) for name in slope}, jnp.ones(())
            _, rates = jax.jvp(outputs, (jnp.asarray(t, float), states), (one, slope))
            found |= {name: rates[name] for name in self.increments}
        known = {**p, **found, **{name: 1.0 + t ** (k + 1) for k, name in enumerate(self.columns)}}
        return found | {name: formula(known) for name, formula in self.formulas}


@lru_cache(maxsize=64)
def as_measured(model: "Model", *, as_written: bool = False) -> "Model":
    """The model whose outputs, as functions of the states, are all that measurements tell: for its equations.

    Formulas of the noise are outputs of their own, "sigma of C", and increments are the rates of what is counted. The
    model itself where it has neither, or has no `Ode`.

    Args:
        as_written: with the formulas to be read; else without a root, exponential or logarithm around them, from which
            the same is known.
    """
    if "symbolic" not in model.dynamics.capabilities or not (model.increments or model.noise_expressions):
        return model
    formulas, noise = {}, {}
    for output, dist in model.noise.items():
        arguments: dict[str, float | str] = {}
        for argument, value in dist.arguments.items():
            if isinstance(value, str) and value in model.noise_expressions:
                name = f"{argument} of {output}"
                formula = model.noise_expressions[value]
                formulas[name], value = formula if as_written else formula.told, name
            arguments[argument] = value
        noise[output] = type(dist)(**arguments)
    columns = tuple(model.columns)
    measured = Measured(
        model.observe, with_arrays(cast(Ode, model.system)), tuple(model.increments), tuple(formulas.items()), columns
    )
    units = {**model.units, **dict.fromkeys(formulas, "")}
    kept: Mapping = {
        name: unit for name, unit in model.columns.items() if any(name in each.names for each in noise.values())
    }
    return replace(model, observe=measured, units=units, noise=noise, increments=(), columns=kept)
