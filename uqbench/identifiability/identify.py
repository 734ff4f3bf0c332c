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
from ..space import Space
from ..study import Study
from ..symbols import NoFormula, read
from ..time_scales.study_separation import with_separation
from .experiments import at_rest, only_at_rest, settings, together
from .fisher import SCALES, fisher_information
from .linear import linear_identifiability, transfer_function
from .structural import BUDGET, SingularStart, structural_identifiability

# Transfer functions of larger systems are longer than a page, and their fibres slow.
LARGEST_LINEAR = 6
# Of the budget, for the global part of a further question.
LEAST_SHARE = 0.1
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
        budget: seconds for the global structural verdicts; what is open by then is "undecided".
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
    tree = results.check_tree(study, tree)
    if findings := check_settings(scale=scale, budget=budget, seed=seed):
        raise InputError(f"identify {study.name!r}", findings)
    tree = with_separation(study, tree)
    began = time.monotonic()
    groups = {"structure": _structure(study, budget, seed)}
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


def _structure(study: Study, budget: float, seed: int) -> xr.Dataset:
    model, space = as_measured(study.model, as_written=True), study.model.space
    design = next(iter(study.experiments.values()))
    if "symbolic" not in model.dynamics.capabilities:
        dataset = _open(space, model.dynamics.lacks("symbolic"))
    elif _implicit(model, design):
        dataset = _open(space, "the quasi-steady state of these fast equations has no closed form to read")
    else:
        try:
            dataset = _with_other_inputs(study, design, _decided(study, design, budget, seed), budget, seed)
        except NoFormula as problem:
            dataset = _open(space, f"no formula to look at: {' '.join(problem.findings)}")
    equations, outputs = _equations(model, design, study.model.increments)
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
            **{"structural_seconds" if name == "seconds" else name: value for name, value in dataset.attrs.items()},
            "equations": json.dumps(equations),
            "outputs": json.dumps(outputs),
            "transfer": json.dumps({} if "measured" in dataset.attrs else _transfer(model, design)),
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
    if _implicit(model, design):
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


def _decided(study: Study, design: Design, budget: float, seed: int) -> xr.Dataset:
    """Structural identifiability from one experiment; from all settings of the inputs where that leaves something."""
    model, options = as_measured(study.model), {"budget": budget, "seed": seed}
    if only_at_rest(study.experiments):
        model, inputs = at_rest(model, study.experiments)
        if _implicit(model, inputs):
            return _open(study.model.space, "the steady state of these equations has no closed form to read")
        found = structural_identifiability(model, design=inputs, **options)
        return found.assign_attrs(measured="at the steady state only, under all settings of the inputs")
    try:
        found = structural_identifiability(model, design=design, **options)
    except SingularStart:
        # A Hill function of real exponent at zero, say; the attribute `initial` tells which question was answered.
        return structural_identifiability(model, design=design, initial="shifted", **options)
    if not _left(found) or model.dynamics.scheduled_events or len(settings(model, study.experiments, 2)) == 1:
        return found
    model, inputs = together(model, study.experiments)
    found = structural_identifiability(model, design=inputs, **options)
    return found.assign_attrs(measured="under several settings of the inputs")


def _with_other_inputs(study: Study, design: Design, found: xr.Dataset, budget: float, seed: int) -> xr.Dataset:
    """With the verdicts for arbitrary input functions of time, where these are others than for the inputs as given."""
    if not _left(found) or not design.inputs or "stretches" in found.attrs or only_at_rest(study.experiments):
        return found
    options = {"inputs": "functions", "seed": seed}
    try:
        varied = structural_identifiability(study.model, design=design, level="local", **options)
    except SingularStart:
        options["initial"] = "shifted"
        varied = structural_identifiability(study.model, design=design, level="local", **options)
    shown = (found.verdict.values == "none") & varied.locally.values
    if not shown.any():
        return found
    # the quick half of the question has told whether there is anything to ask
    left = budget - found.attrs["seconds"] - varied.attrs["seconds"]
    if left > LEAST_SHARE * budget:
        varied = structural_identifiability(study.model, design=design, budget=left, **options)
    verdicts = np.where(shown, varied.verdict.values, found.verdict.values)
    reasons = np.where(shown, varied.reason.values, found.reason.values)
    seconds = found.attrs["seconds"] + varied.attrs["seconds"]
    other = {"verdict_if_inputs_vary": ("parameter", verdicts), "reason_if_inputs_vary": ("parameter", reasons)}
    return found.assign(other).assign_attrs(seconds=seconds)


def _left(found: xr.Dataset) -> bool:
    """Whether a continuum of values is possible, as far as is known."""
    verdicts, locally = found.verdict.values, found.locally.values
    return bool(np.any((verdicts == "none") | ((verdicts == "undecided") & ~locally)))


def _implicit(model: Model, design: Design) -> bool:
    """Whether what follows from the states at once is known only as the root of an equation."""
    return "quasi_steady" in model.dynamics.capabilities and model.dynamics.is_implicit(model, design)


def _open(space: Space, reason: str) -> xr.Dataset:
    """Every parameter undecided, for this reason."""
    names = list(space.free)
    texts = {"verdict": "undecided", "reason": reason, "combination": "", "method": ""}
    columns = {name: ("parameter", [text] * len(names)) for name, text in texts.items()}
    return xr.Dataset({**columns, "locally": ("parameter", [False] * len(names))}, coords={"parameter": names})


def _transfer(model: Model, design: Design) -> dict:
    """Transfer functions and poles in LaTeX, and which coefficients fix which parameter; empty if not linear."""
    if "symbolic" not in model.dynamics.capabilities or len(model.space.free) > 2 * LARGEST_LINEAR:
        return {}
    try:
        system = transfer_function(model, design)
        if len(system.states) > LARGEST_LINEAR or len(system.parameters) > LARGEST_LINEAR:
            return {}
        found = linear_identifiability(model, design)
    except InputError:
        return {}
    functions = [
        f"H_{{\\mathrm{{{_words(output)} \\leftarrow {_words(source)}}}}} = {sympy.latex(function.expression)}"
        for (output, source), function in system.functions.items()
    ]
    poles = dict.fromkeys(pole for function in system.response.values() for pole in function.poles if pole != 0)
    fixed = {
        name: found.coefficient.values[fixes].tolist()
        for name, fixes in zip(found.parameter.values.tolist(), found.fixed_by.values, strict=True)
        if fixes.any()
    }
    return {
        "functions": functions,
        "poles": [sympy.latex(pole) for pole in poles],
        "coefficients": dict(zip(found.coefficient.values.tolist(), found.expression.values.tolist(), strict=True)),
        "fixed_by": fixed,
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
