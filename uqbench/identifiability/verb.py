"""The verb `identify`: can the parameters be known from such outputs at all, and how well from such measurements."""

import json
import time

import numpy as np
import sympy
import xarray as xr

from .. import results
from ..design import Design
from ..errors import InputError
from ..model import Model
from ..space import Theta
from ..study import Study
from ..symbols import read
from .fisher import fisher_information
from .linear import linear_identifiability, transfer_function
from .structural import BUDGET, SingularStart, structural_identifiability

# Transfer functions of larger systems are longer than a page, and their fibres slow.
LARGEST_LINEAR = 6


def identify(
    study: Study, tree: xr.DataTree | None = None, *, theta: Theta | None = None, scale: str = "log",
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
        `structural_identifiability`; equations in LaTeX as attributes) and,
        where something is measured, /fisher.

    Raises:
        InputError: operations without an algebraic meaning, by name; unknown parameters; a failed solve at `theta`.
    """
    tree = results.check_tree(study, tree)
    began = time.monotonic()
    design = next(iter(study.experiments.values()))
    groups = {"structure": _structure(study.model, design, budget, seed)}
    if study.model.noise:
        at = "theta" if theta is not None else "posterior medians" if "posterior" in tree.children else "prior medians"
        if at == "posterior medians":
            posterior = tree["posterior"].to_dataset()
            theta = {name: np.asarray(posterior[name].median()) for name in study.model.space.epistemic}
        fisher = fisher_information(study, theta, scale=scale)
        groups["fisher"] = fisher.assign_attrs({**fisher.attrs, "at": at})
    settings = {"scale": scale, "budget": budget}
    return results.attach(tree, groups, verb="identify", settings=settings, seed=seed, seconds=time.monotonic() - began)


def _structure(model: Model, design: Design, budget: float, seed: int) -> xr.Dataset:
    space = model.space
    if model.system is None:
        reason = "a simulator without a system has no equations to read"
        names = list(space.free)
        dataset = xr.Dataset(
            {
                "verdict": ("parameter", ["undecided"] * len(names)),
                "reason": ("parameter", [reason] * len(names)),
                "combination": ("parameter", [""] * len(names)),
                "locally": ("parameter", [False] * len(names)),
                "method": ("parameter", [""] * len(names)),
            },
            coords={"parameter": names},
        )
        equations, outputs = [], []
    else:
        try:
            dataset = structural_identifiability(model, design=design, budget=budget, seed=seed)
        except SingularStart:
            # A Hill function of real exponent at zero, say; the attribute `initial` tells which question was answered.
            dataset = structural_identifiability(model, design=design, initial="shifted", budget=budget, seed=seed)
        symbolic = read(model, design)
        equations = [sympy.latex(equation) for equation in symbolic.equations()]
        outputs = [f"\\mathrm{{{_words(name)}}} = {sympy.latex(right)}" for name, right in symbolic.observe.items()]
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
            "transfer": json.dumps(_transfer(model, design)),
            "parameters": json.dumps(parameters),
            "units": json.dumps({**model.units, **({"time": model.time_unit} if model.time_unit else {})}),
        }
    )


def _transfer(model: Model, design: Design) -> dict:
    """Transfer functions and poles in LaTeX, and which coefficients fix which parameter; empty if not linear."""
    if model.system is None or len(model.space.free) > 2 * LARGEST_LINEAR:
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
        str(name): str(text) for name, text in zip(found.parameter.values, found.fixed_by.values, strict=True) if text
    }
    return {
        "functions": functions,
        "poles": [sympy.latex(pole) for pole in poles],
        "coefficients": found.attrs["coefficients"],
        "fixed_by": fixed,
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
