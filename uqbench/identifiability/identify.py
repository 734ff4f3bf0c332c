"""The verb `identify`: can the parameters be known from such outputs at all, and how well from such measurements."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import sympy
import xarray as xr

from .. import results
from ..annotations import Values
from ..design import Design
from ..errors import InputError
from ..model import Model, as_measured
from ..settings import is_number, seed_findings
from ..study import Study
from ..symbols import NoFormula, read
from ..time_scales.study_separation import with_separation
from .budget import Budget
from .coefficient_map import CoefficientMap
from .experiments import only_at_rest
from .fisher import SCALES, fisher_information
from .linear import transfer_function
from .questions import first_design, is_implicit, structure_of_study, undecided
from .structural import BUDGET

# Transfer functions of larger systems are longer than a page, and their fibres slow.
LARGEST_LINEAR = 6
RATE = r"\frac{d}{dt} "


def identify(
    study: Study, tree: xr.DataTree | None = None, *, theta: Values | None = None, scale: str = "log",
    budget: float = BUDGET, seed: int = 0
) -> xr.DataTree:  # fmt: skip
    """Structural identifiability from the traced equations, and Fisher information from the measurements.

    Args:
        study: its model, designs and noise; data are not needed. tree: results to add to. theta: where to evaluate
            the Fisher information; default the posterior medians if /posterior is in the tree, else
            the prior medians.
        scale: of the Fisher information, "log" or "natural".
        budget: seconds for everything about the structure; what is open by then is "undecided". Only the local half
            of the verdicts is always worked out. The Fisher information is not counted.
        seed: of the random points of the structural test.

    Returns:
        the tree with /structure (by `parameter`: verdict, reason, combination and more, see
        `structural_identifiability`; equations in LaTeX as attributes) and, where something is measured, /fisher.
        The question of /structure is asked of the first experiment; of all settings of the inputs together where
        that leaves a parameter unknown; of the steady state alone where every time is `inf` (attribute `measured`).
        Where arbitrary functions of time as inputs would show more, `verdict_if_inputs_vary` says what.

    Raises:
        InputError: unknown parameters; a failed solve at a given `theta`. Where the equations have no algebraic meaning
            every verdict is "undecided", and the reason names the operations. Where a solve fails at the medians,
            /fisher is missing and /structure says why (`no_information`).
    """
    tree = results.check_tree(study, tree, verb="identify")
    if findings := check_settings(scale=scale, budget=budget, seed=seed):
        raise InputError(f"identify {study.name!r}", findings)
    tree = with_separation(study, tree)
    began, limit = time.monotonic(), Budget(budget)
    groups = {"structure": _structure(study, limit, seed).assign_attrs(budget=budget)}
    if study.model.measured:
        at = "theta" if theta is not None else "posterior medians" if "posterior" in tree.children else "prior medians"
        if at == "posterior medians":
            posterior = tree["posterior"].to_dataset()
            theta = {name: np.asarray(posterior[name].median()) for name in study.model.space.epistemic}
        try:
            fisher = fisher_information(study, theta, scale=scale)
            groups["fisher"] = fisher.assign_attrs({**fisher.attrs, "at": at})
        except InputError as error:
            if at == "theta":
                raise
            # at a point that nobody has chosen, what is known of the structure is not lost with it
            reason = f"at the {at}: {' '.join(error.findings)}"
            groups["structure"] = groups["structure"].assign_attrs(no_information=reason)
            warnings.warn(f"study {study.name!r}: no Fisher information {reason}", UserWarning, stacklevel=2)
    said = {"scale": scale, "budget": budget}
    return results.attach(tree, groups, verb="identify", settings=said, seed=seed, seconds=time.monotonic() - began)


def check_settings(*, scale: str = "log", budget: float = BUDGET, seed: int = 0) -> list[str]:
    """What is wrong with the settings of `identify`."""
    findings = seed_findings(seed)
    if scale not in SCALES:
        findings.append(f"scale is {scale!r}; give {' or '.join(map(repr, SCALES))}.")
    if not is_number(budget) or not budget > 0:
        findings.append(f"budget is {budget!r}; give a number of seconds above 0.")
    return findings


def _structure(study: Study, limit: Budget, seed: int) -> xr.Dataset:
    began = time.monotonic()
    model, space, design = as_measured(study.model, as_written=True), study.model.space, first_design(study)
    equations, outputs = _equations(model, design, study.model.increments)
    transfer = {} if only_at_rest(study.experiments) else _transfer(model, design)
    if "symbolic" not in model.dynamics.capabilities:
        dataset = undecided(space, model.dynamics.lacks("symbolic"))
    elif is_implicit(model, design):
        dataset = undecided(space, "the quasi-steady state of these fast equations has no closed form to read")
    else:
        try:
            dataset = structure_of_study(study, limit, seed)
        except NoFormula as problem:
            dataset = undecided(space, f"no formula to look at: {' '.join(problem.findings)}")
    parameters = [
        {
            "name": name,
            "latex": sympy.latex(sympy.Symbol(name)),
            "unit": parameter.unit,
            "role": parameter.role,
            "distribution": repr(parameter.dist),
            "doc": parameter.doc,
        }
        for name, parameter in space.items()
    ]
    return dataset.assign_attrs(
        {
            **{name: value for name, value in dataset.attrs.items() if name != "seconds"},
            "structural_seconds": time.monotonic() - began,
            "equations": json.dumps(equations),
            "outputs": json.dumps(outputs),
            "transfer": json.dumps({} if "measured" in dataset.attrs else transfer),
            "parameters": json.dumps(parameters),
            "units": json.dumps({**model.units, **({"time": model.time_unit} if model.time_unit else {})}),
        }
    )


def _equations(model: Model, design: Design, rates: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Dynamics and outputs in LaTeX, of `rates` their derivative.

    Where fast states have no formula, their equations with nothing moving.
    """
    if "symbolic" not in model.dynamics.capabilities:
        return [], []
    resting = ()
    if is_implicit(model, design):
        model, resting = replace(model, system=model.dynamics.full), model.dynamics.fast
    try:
        symbolic = read(model, design)
    except NoFormula:
        return [], []
    observe = {name: right for name, right in symbolic.observe.items() if name not in rates}
    lines = [sympy.latex(equation) for equation in replace(symbolic, observe=observe).equations()]
    for name in resting:
        k = symbolic.states.index(name)
        lines[k] = sympy.latex(sympy.Eq(0, symbolic.rhs[name], evaluate=False))
    starts = {len(symbolic.states) + symbolic.states.index(name) for name in resting}
    outputs = [
        f"{RATE if name in rates else ''}\\mathrm{{{_words(name)}}} = {sympy.latex(right)}"
        for name, right in symbolic.observe.items()
    ]
    return [line for k, line in enumerate(lines) if k not in starts], outputs


def _transfer(model: Model, design: Design) -> dict:
    """Transfer functions and poles in LaTeX, and which coefficients fix which parameter; empty if not linear."""
    if "symbolic" not in model.dynamics.capabilities or len(model.space.free) > 2 * LARGEST_LINEAR:
        return {}
    try:
        system = transfer_function(model, design)
        if len(system.states) > LARGEST_LINEAR or len(system.parameters) > LARGEST_LINEAR:
            return {}
        fixed = CoefficientMap(system.coefficients, system.parameters, system.known).fixed_by()
    except InputError:
        return {}
    functions = [
        f"H_{{\\mathrm{{{_words(output)} \\leftarrow {_words(source)}}}}} = {sympy.latex(function.expression)}"
        for (output, source), function in system.functions.items()
    ]
    poles = dict.fromkeys(pole for function in system.response.values() for pole in function.poles if pole != 0)
    return {
        "functions": functions,
        "poles": [sympy.latex(pole) for pole in poles],
        "coefficients": {name: str(value) for name, value in system.coefficients.items()},
        "fixed_by": fixed,
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
