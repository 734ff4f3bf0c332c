"""The verb `identify`: can the parameters be known from such outputs at all, and how well from such measurements."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import sympy
import xarray as xr

from .. import results
from ..annotations import Values
from ..coupling.study_balance import with_balance
from ..defaults import STARTS
from ..design import Design
from ..errors import InputError, Interrupted
from ..likelihoods import likelihood_of
from ..model import Model, as_measured
from ..optimization import find_map
from ..optimization.best_fit import BY_HAND
from ..settings import is_number, seed_findings, whole_number_findings
from ..study import Study
from ..symbols import NoFormula, read
from ..time_scales.study_separation import with_separation
from .budget import Budget
from .closures import through_closure
from .coefficient_map import CoefficientMap
from .experiment_design import prescribe
from .experiment_design.prescription import profiled
from .experiments import only_at_rest
from .findings import undecided
from .fisher import SCALES, fisher_information
from .linear import transfer_function
from .profiles import profile_likelihood, profile_quantities
from .profiles.beginning import LEVEL
from .profiles.quantities import with_profiles
from .questions import first_design, is_implicit, structure_of_study
from .structural import BUDGET

# Transfer functions of larger systems are longer than a page, and their fibres slow.
LARGEST_LINEAR = 6
# Seconds for the best fit, as many for the profiles, and for those of quantities.
FIT_BUDGET = 60.0
# Verdicts of /practical for which a measurement is prescribed.
OPEN = ("one-sided", "not identifiable")
RATE = r"\frac{d}{dt} "


def identify(
    study: Study, tree: xr.DataTree | None = None, *, theta: Values | None = None, scale: str = "log",
    budget: float = BUDGET, starts: int = STARTS, fit_budget: float = FIT_BUDGET, level: float = LEVEL, seed: int = 0
) -> xr.DataTree:  # fmt: skip
    """Structural identifiability from the traced equations; best fit, Fisher information and profiles from the data.

    Args:
        study: its model, designs and noise; data are needed for the best fit and the profiles alone.
        tree: results to add to.
        theta: where to evaluate the Fisher information; default the posterior medians if /posterior is in the tree,
            else the best fit, else the prior medians.
        scale: of the Fisher information, "log" or "natural".
        budget: seconds for everything about the structure; what is open by then is "undecided". Only the local half
            of the verdicts is always worked out. The Fisher information is not counted.
        starts: ascents of the best fit; 0 leaves it out, and the profiles.
        fit_budget: seconds for the best fit, as many for the profiles, and for those of quantities; what is open by
            then is "stopped".
        level: of the profile intervals.
        seed: of the random points of the structural test, and of the starts.

    Returns:
        the tree with /structure (by `parameter`: verdict, reason, combination and more, see
        `structural_identifiability`; equations in LaTeX as attributes) and, where something is measured, /fisher.
        The question of /structure is asked of the first experiment; of all settings of the inputs together where
        that leaves a parameter unknown; of the steady state alone where every time is `inf` (attribute `measured`).
        Where arbitrary functions of time as inputs would show more, `verdict_if_inputs_vary` says what. With data also
        /fit (see `find_map`), /profile (see `profile_likelihood`) and, of the quantities, /prediction (see
        `profile_quantities`). /practical has all verdicts side by side, and
        /experiment what to measure for the parameters that the data leave open (see `prescribe`).

    Raises:
        InputError: unknown parameters; a failed solve at a given `theta`. Where the equations have no algebraic meaning
            every verdict is "undecided", and the reason names the operations. Where a solve fails at the medians,
            /fisher is missing and /structure says why (`no_information`); where nothing can be fitted, likewise
            (`no_fit`), or predicted (`no_prediction`).
        Interrupted: where it is stopped (Ctrl-C) during the best fit or the profiles; its `tree` has what there is,
            marked as partial.
    """
    tree = results.check_tree(study, tree, verb="identify")
    settings = {"scale": scale, "budget": budget, "starts": starts, "fit_budget": fit_budget, "level": level}
    if findings := check_settings(**settings, seed=seed):
        raise InputError(f"identify {study.name!r}", findings)
    tree = with_balance(study, with_separation(study, tree))
    began, limit = time.monotonic(), Budget(budget)
    groups = {"structure": _structure(study, limit, seed).assign_attrs(budget=budget)}

    def attached(partial: str = "") -> xr.DataTree:
        found = {name: child.to_dataset() for name, child in tree.children.items()} | groups
        joined = {} if (table := results.practical(found)) is None else {"practical": table}
        seconds = time.monotonic() - began
        return results.attach(
            tree, groups | joined, verb="identify", settings=settings, seed=seed, seconds=seconds, partial=partial
        )

    if starts and study.data is not None and study.model.measured:
        fitted = _fitted(study, starts, fit_budget, level, seed)
        groups["structure"] = groups["structure"].assign_attrs(**fitted.missing)
        groups |= fitted.groups
        if fitted.stopped:
            raise Interrupted(attached(fitted.stopped))
    if study.model.measured:
        at, theta = _where(study, theta, tree, groups)
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
    if (table := results.practical(groups)) is not None and study.model.measured:
        groups |= _prescribed(study, theta, table, seed)
    return with_balance(study, attached())


def check_settings(
    *, scale: str = "log", budget: float = BUDGET, starts: int = STARTS, fit_budget: float = FIT_BUDGET,
    level: float = LEVEL, seed: int = 0
) -> list[str]:  # fmt: skip
    """What is wrong with the settings of `identify`."""
    findings = seed_findings(seed) + whole_number_findings({"starts": (starts, 0)})
    if scale not in SCALES:
        findings.append(f"scale is {scale!r}; give {' or '.join(map(repr, SCALES))}.")
    for name, given in (("budget", budget), ("fit_budget", fit_budget)):
        if not is_number(given) or not given > 0:
            findings.append(f"{name} is {given!r}; give a number of seconds above 0.")
    if not is_number(level) or not 0 < level < 1:
        findings.append(f"level is {level!r}; give a number between 0 and 1.")
    return findings


class _Fitted(NamedTuple):
    """Best fit and profiles: their groups, why there are none as attributes, and how far a stopped search came."""

    groups: dict[str, xr.Dataset]
    missing: dict[str, str]
    stopped: str


def _fitted(study: Study, starts: int, budget: float, level: float, seed: int) -> _Fitted:
    groups: dict[str, xr.Dataset] = {}
    try:
        groups["fit"] = find_map(study, starts=starts, budget=budget, seed=seed)
        if groups["fit"].attrs["stopped"] == BY_HAND:
            ended = groups["fit"].sizes["start"]
            return _Fitted(groups, {}, f"stopped after {ended} of {starts} ascents of the best fit")
        groups["profile"] = profile_likelihood(study, groups["fit"], level=level, budget=budget)
        if groups["profile"].attrs["stopped"] == BY_HAND:
            return _Fitted(groups, {}, "stopped during the profiles")
    except InputError as error:
        return _Fitted(groups, {"no_fit": " ".join(error.findings)}, "")
    if not (names := with_profiles(study)):
        return _Fitted(groups, {}, "")
    try:
        groups["prediction"] = profile_quantities(study, groups["fit"], names, level=level, budget=budget)
    except InputError as error:
        # what is known of the parameters is not lost with the predictions
        return _Fitted(groups, {"no_prediction": " ".join(error.findings)}, "")
    stopped = "stopped during the profiles of quantities" if groups["prediction"].attrs["stopped"] == BY_HAND else ""
    return _Fitted(groups, {}, stopped)


def _prescribed(study: Study, theta: Values | None, table: xr.Dataset, seed: int) -> dict[str, xr.Dataset]:
    """/experiment: what to measure for the parameters that the data leave open; empty where no row tells by itself."""
    names = [str(name) for name in table.parameter.values[np.isin(table.verdict.values, OPEN)]]
    likelihood = likelihood_of(study)
    unnamed = study.model.space.aleatory and study.unit is None
    if not names or unnamed or "row_information" not in likelihood.capabilities:
        return {}
    try:
        # profiles of a population take minutes for each prescription
        check = profiled if study.data is not None and not study.model.space.aleatory else None
        return {"experiment": prescribe(study, theta, parameters=names, seed=seed, check=check)}
    except InputError as error:
        warnings.warn(f"study {study.name!r}: no prescription. {' '.join(error.findings)}", UserWarning, stacklevel=3)
        return {}


def _where(study: Study, theta: Values | None, tree: xr.DataTree, groups) -> tuple[str, Values | None]:
    """Where the information is evaluated, in words and as values; None for the prior medians."""
    names = study.model.space.epistemic
    if theta is not None:
        return "theta", theta
    if "posterior" in tree.children:
        posterior = tree["posterior"].to_dataset()
        return "posterior medians", {name: np.asarray(posterior[name].median()) for name in names}
    if "fit" in groups:
        return "best fit", dict(zip(names, groups["fit"]["value"].sel(parameter=list(names)).values, strict=True))
    return "prior medians", None


def _structure(study: Study, limit: Budget, seed: int) -> xr.Dataset:
    began = time.monotonic()
    study, design = _written_out(study), first_design(study)
    model, space = as_measured(study.model, as_written=True), study.model.space
    equations, outputs = _equations(model, design, study.model.increments)
    transfer = {} if only_at_rest(study.experiments) else _transfer(model, design)
    if "closure" in model.dynamics.capabilities:
        dataset = _by_closure(study, limit, seed)
    elif "symbolic" not in model.dynamics.capabilities:
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
            "of_levels": json.dumps(_of_levels(study)),
            "units": json.dumps({**model.units, **({"time": model.time_unit} if model.time_unit else {})}),
        }
    )


def _of_levels(study: Study) -> list[str]:
    """Parameters that are in no equation and no noise, and in the priors of several others: of their distribution."""
    model, space = study.model, study.model.space
    elsewhere = {*model.dynamics.parameters_used(model, first_design(study))}
    elsewhere |= {name for output in model.noise for name in model.noise_names(output)}
    elsewhere |= {name for other in space.aleatory for name in space[other].names}
    named = [name for other in space.epistemic for name in space[other].names]
    return [name for name in space.epistemic if named.count(name) > 1 and name not in elsewhere]


def _written_out(study: Study) -> Study:
    """The same study of a model whose equations can be read, where there is one."""
    model = study.model.dynamics.written_out(study.model, first_design(study))
    return study if model is None else replace(study, model=model, quantities={})


def _by_closure(study: Study, limit: Budget, seed: int) -> xr.Dataset:
    dynamics: Any = study.model.dynamics
    inner = _written_out(replace(study, model=dynamics.model, quantities={}))
    if "symbolic" not in inner.model.dynamics.capabilities:
        return undecided(study.model.space, inner.model.dynamics.lacks("symbolic"))
    try:
        coarse = structure_of_study(inner, limit, seed)
    except NoFormula as problem:
        return undecided(study.model.space, f"no formula to look at: {' '.join(problem.findings)}")
    return through_closure(study.model, coarse, seed)


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
