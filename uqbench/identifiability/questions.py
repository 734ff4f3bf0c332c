"""The structural questions that a study raises, and their answers within one budget of time.

The question is asked of the first experiment; of all settings of the inputs together where one leaves a parameter
unknown; of the steady state alone where nothing else is measured; and again of arbitrary functions of time as inputs.
The local half of a question takes a moment and says which of the others there are, so it comes first for all of them;
the global half of those that remain shares what is left of the time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..design import Design
from ..model import Model, as_measured
from ..study import Study
from .budget import Budget
from .experiments import at_rest, only_at_rest, settings, together
from .findings import undecided
from .structural import SingularStart, structural_identifiability, within

AT_REST = "at the steady state only, under all settings of the inputs"
TOGETHER = "under several settings of the inputs"


@dataclass(frozen=True)
class Asked:
    """A question with its local half answered.

    Args:
        model: of which it is asked. options: as of `structural_identifiability`.
        local: the verdicts of level "local". measured: which measurements it is about, where not one experiment.
    """

    model: Model
    options: dict
    local: xr.Dataset
    measured: str = ""

    @classmethod
    def of(cls, model: Model, measured: str = "", **options) -> "Asked":
        """Asked from a start nearby where the equations have no Taylor series at the given one, a Hill function of real
        exponent at zero, say; the attribute `initial` of an answer tells."""
        try:
            local = structural_identifiability(model, level="local", **options)
        except SingularStart:
            options = {**options, "initial": "shifted"}
            local = structural_identifiability(model, level="local", **options)
        return cls(model, options, local, measured)

    def answer(self, limit: Budget) -> xr.Dataset:
        """The verdicts with their global half, as far as there is time for it."""
        found = within(limit, self.model, **self.options)
        return found.assign_attrs(measured=self.measured) if self.measured else found

    @property
    def left(self) -> bool:
        """Whether a continuum of values is possible, as far as is known."""
        verdicts, locally = self.local.verdict.values, self.local.locally.values
        return bool(np.any((verdicts == "none") | ((verdicts == "undecided") & ~locally)))


def structure_of_study(study: Study, limit: Budget, seed: int) -> xr.Dataset:
    """Verdicts as of `structural_identifiability`, and those for other inputs where they show more.

    Args:
        study: with a model that can be read as formulas. limit: of all questions together. seed: of random points.

    Raises:
        NoFormula: where it cannot be.
    """
    asked = _given(study, seed)
    if asked is None:
        return undecided(study.model.space, "the steady state of these equations has no closed form to read")
    other = _other_inputs(study, asked, seed)
    if other is None:
        return asked.answer(limit)
    found, varied = asked.answer(limit.part(limit.left / 2)), other.answer(limit)
    shown = (found.verdict.values == "none") & varied.locally.values
    verdicts = np.where(shown, varied.verdict.values, found.verdict.values)
    reasons = np.where(shown, varied.reason.values, found.reason.values)
    columns = {"verdict_if_inputs_vary": ("parameter", verdicts), "reason_if_inputs_vary": ("parameter", reasons)}
    return found.assign(columns)


def _given(study: Study, seed: int) -> Asked | None:
    """The question of the experiments as they are; None where no formula tells the steady state that they measure."""
    model, design = as_measured(study.model), first_design(study)
    if only_at_rest(study.experiments):
        resting, inputs = at_rest(model, study.experiments)
        return None if is_implicit(resting, inputs) else Asked.of(resting, AT_REST, design=inputs, seed=seed)
    asked = Asked.of(model, design=design, seed=seed)
    if not asked.left or model.dynamics.scheduled_events or len(settings(model, study.experiments, 2)) == 1:
        return asked
    joined, inputs = together(model, study.experiments)
    return Asked.of(joined, TOGETHER, design=inputs, seed=seed)


def _other_inputs(study: Study, asked: Asked, seed: int) -> Asked | None:
    """The question of arbitrary functions of time as inputs, where they would show what those given do not."""
    design = first_design(study)
    if not asked.left or not design.inputs or "stretches" in asked.local.attrs or asked.measured == AT_REST:
        return None
    other = Asked.of(study.model, design=design, inputs="functions", seed=seed)
    shown = (asked.local.verdict.values == "none") & other.local.locally.values
    return other if shown.any() else None


def first_design(study: Study) -> Design:
    return next(iter(study.experiments.values()))


def is_implicit(model: Model, design: Design) -> bool:
    """Whether what follows from the states at once is known only as the root of an equation."""
    # what only a system with this capability has
    dynamics: Any = model.dynamics
    return "quasi_steady" in dynamics.capabilities and dynamics.is_implicit(model, design)
