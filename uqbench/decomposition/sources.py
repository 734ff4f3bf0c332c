"""Sobol indices of all that a single run depends on: parameters, new units, and the noise, by reaction where it can be.

Indices of a random model are of what is expected given its inputs (`sobol_indices` with replicates); its noise is left
out. Here the noise is among the inputs. Each reaction fires when the integral of its propensity passes the next point
of a unit Poisson process of its own (random time change, Ethier & Kurtz 1986), these processes are independent, and so
a run is a function of the parameters and of them (Le Maitre, Knio & Moraes 2015, doi:10.1063/1.4935926). Intrinsic
noise is split by where it comes from, in one stack with what differs between units and what is not known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import xarray as xr

from ..errors import InputError
from ..settings import is_number, seed_findings, whole_number_findings
from ..space import Theta
from ..study import Quantity, Study
from .predictions import PosteriorInputs, PriorInputs, final_outputs, posterior_draws, values_of
from .runs import MINIMUM_BASE_SAMPLES
from .sobol import SobolPlan, sobol_indices, sobol_plan

# Points of a plan are odd multiples of half of this.
POINTS = 2**30
KINDS = ("epistemic", "aleatory", "noise")


@dataclass(frozen=True)
class WithNoise:
    """Inputs of a prediction, and beside them the number of the random numbers of each source of noise."""

    inputs: PosteriorInputs | PriorInputs
    noise: tuple[str, ...]

    @property
    def free(self) -> tuple[str, ...]:
        return (*self.inputs.free, *self.noise)

    def from_cube(self, u: np.ndarray) -> Theta:
        """Parameters from the first columns, whole numbers from the others."""
        count = len(self.inputs.free)
        numbers = np.floor(np.moveaxis(np.asarray(u)[..., count:], -1, 0) * POINTS)
        return {**self.inputs.from_cube(u[..., :count]), **dict(zip(self.noise, numbers, strict=True))}

    def kind(self, name: str) -> str:
        """One of `KINDS`; the posterior as one input is epistemic."""
        space = self.inputs.space
        return KINDS[2] if name in self.noise else KINDS[1] if name in space.aleatory else KINDS[0]

    def numbers(self, plan: SobolPlan) -> np.ndarray:
        """(evaluations, sources) of the runs of a plan."""
        return np.stack([plan.values[name] for name in self.noise], axis=-1).astype(np.uint32)


def source_indices(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    n: int = 4096,
    second_order: bool = False,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Sobol indices of every quantity by source: parameters, differences between units, and the noise of each reaction
    or of the whole run.

    Args:
        study: of a random model; its quantities, or without any the outputs at the end of the first experiment. The
            noise is split by reaction in `Reactions.jumps()` (exact, propensities not functions of time), else it is
            one source.
        tree: with /posterior in it the posterior is one input, otherwise each epistemic parameter is, from the prior.
        n: base samples, rounded up to a power of 2; there are n times (sources + 2) runs.
        second_order: indices of pairs too.
        confidence: level of the intervals.
        resamples: of the bootstrap.
        seed: of parameters and noise.

    Returns:
        by `source` and `quantity`: `S1`, `ST` (and `S2`) as from `sobol_indices`, of a single run in a new unit;
        `kind` of each source (epistemic, aleatory, noise); `variance` of the run by `quantity`.

    Raises:
        InputError: a model that is not random; settings out of range; no quantity that varies.

    Example:
        >>> import uqbench as uq
        >>> from forward_models.birth_death import network
        >>> space = uq.Space(k=uq.fixed(10.0), g=uq.fixed(1.0))
        >>> model = uq.Model(space, network.jumps(), units={"X": ""})
        >>> found = source_indices(uq.Study("cells", model, {"hour": uq.Design([1.0])}), n=256, resamples=100)
        >>> found.source.values.tolist(), bool(found.S1[0, 0] > 0.5)
        (['noise of birth', 'noise of death'], True)
    """
    findings = whole_number_findings({"n": (n, MINIMUM_BASE_SAMPLES), "resamples": (resamples, 20)})
    findings += seed_findings(seed)
    if not is_number(confidence) or not 0 < confidence < 1:
        findings.append(f"confidence is {confidence!r}; give a number between 0 and 1.")
    if not study.model.dynamics.noise_sources():
        findings.append(f"{study.model.dynamics.kind} is not random; take `decompose` or `sobol_indices`.")
    inputs = inputs_of(study, posterior_draws(study, tree) if tree is not None else None)
    taken = [name for name in inputs.noise if name in study.model.space]
    findings += [f"{name!r} is the name of a parameter too; rename it." for name in taken]
    if findings:
        raise InputError(f"source_indices of {study.name!r}", findings)
    quantities = quantities_of(study)
    plan = sobol_plan(inputs, n, second_order=second_order, seed=seed)
    theta = {name: plan.values[name] for name in study.model.space.names}
    y = values_of(study, quantities, theta, numbers=inputs.numbers(plan))
    found = sobol_indices(plan, y, confidence=confidence, resamples=resamples, seed=seed)
    names = {"parameter": "source", "other_parameter": "other_source"}
    found = found.rename({name: new for name, new in names.items() if name in found.dims})
    # the first two blocks are independent samples
    variance = y.values[: 2 * plan.n].var(axis=0, where=np.isfinite(y.values[: 2 * plan.n]))
    kinds = [inputs.kind(name) for name in plan.names]
    meaning = "parameters, the parameters of a new unit, and the noise, all independent"
    return (
        found.assign(variance=("quantity", variance))
        .assign_coords(kind=("source", kinds))
        .assign_attrs(
            {
                **found.attrs,
                "inputs": meaning,
                "noise": "among the sources; where it is split, by reaction (random time change).",
                "failed_runs": json.dumps(y.attrs["failed"]),
            }
        )
    )


def inputs_of(study: Study, draws: Mapping[str, np.ndarray] | None) -> WithNoise:
    """The inputs of a single run: those of a prediction from prior or posterior, and the sources of noise."""
    quantities = quantities_of(study)
    inputs = PriorInputs.of(study, quantities) if draws is None else PosteriorInputs(study.model.space, draws)
    return WithNoise(inputs, tuple(f"noise of {name}" for name in study.model.dynamics.noise_sources()))


def quantities_of(study: Study) -> Mapping[str, Quantity]:
    """Those of the study, or its outputs at the end."""
    return cast(Mapping[str, Quantity], study.quantities) or final_outputs(study)
