"""Predictions of a study in many runs: the quantities, and the inputs that they depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..annotations import AnyArray
from ..design import Design
from ..distributions import Distribution
from ..model import Run, evaluate_by_source, evaluate_many
from ..space import Space, Theta
from ..study import Quantity, Study


@dataclass(frozen=True)
class PosteriorInputs:
    """The inputs of a calibrated prediction: one draw from the posterior, and the parameters of a new unit.

    Args:
        space: of the model.
        draws: posterior draws of the epistemic parameters, `(draws,)` each.
    """

    space: Space
    draws: Mapping[str, np.ndarray]

    @property
    def free(self) -> tuple[str, ...]:
        """The inputs: the posterior as one of them, then each aleatory parameter."""
        return ("epistemic", *self.space.aleatory)

    def from_cube(self, u) -> Theta:
        """Values at `u` `(..., 1 + aleatory)`; the first column picks a draw, the others are conditional quantiles."""
        u = jnp.asarray(u, float)
        count = len(next(iter(self.draws.values())))
        pick = np.minimum((np.asarray(u[..., 0]) * count).astype(int), count - 1)
        theta = {name: jnp.asarray(values)[pick] for name, values in self.draws.items()}
        columns = dict(zip(self.space.aleatory, jnp.moveaxis(u[..., 1:], -1, 0), strict=True))
        for name in self.space.fixed:
            theta[name] = jnp.full(u.shape[:-1], float(cast(float, self.space[name].dist)))
        for name in self.space.aleatory:
            theta[name] = cast(Distribution, self.space[name].dist).ppf(columns[name], theta)
        return {"epistemic": u[..., 0], **theta}


@dataclass(frozen=True)
class PriorInputs:
    """The prior inputs on which a prediction can depend: what enters the simulator, and what those depend on."""

    space: Space
    free: tuple[str, ...]

    @classmethod
    def of(cls, study: Study, quantities: Mapping[str, Quantity]) -> "PriorInputs":
        space = study.model.space
        needed = set(study.model.dynamics.parameters_used(study.model, next(iter(quantities.values())).design))
        for quantity in quantities.values():
            needed |= set(quantity.parameters_used(study.model))
        for name in reversed(space.names):
            if name in needed:
                needed |= set(space[name].names)
        return cls(space, tuple(name for name in space.free if name in needed))

    def from_cube(self, u) -> Theta:
        """All parameters; those outside `free` at their medians."""
        u = jnp.asarray(u, float)
        full = jnp.full((*u.shape[:-1], len(self.space.free)), 0.5)
        columns = np.array([self.space.free.index(name) for name in self.free], int)
        return self.space.from_cube(full.at[..., columns].set(u))


class _Final:
    """The last value of one output."""

    def __init__(self, output: str):
        self.output = output

    def __call__(self, outputs, design):
        return outputs[self.output][-1]


def final_outputs(study: Study) -> dict[str, Quantity]:
    """The outputs at the end of the first experiment, as quantities."""
    design = next(iter(study.experiments.values()))
    return {f"{name} at the end": Quantity(_Final(name), design, unit) for name, unit in study.model.units.items()}


def posterior_draws(study: Study, tree: xr.DataTree) -> dict[str, np.ndarray] | None:
    """Epistemic parameters of all posterior draws, `(draws,)` each; None before calibration."""
    if "posterior" not in tree.children:
        return None
    posterior = tree["posterior"].to_dataset()
    return {name: posterior[name].values.ravel() for name in study.model.space.epistemic}


def evaluated(study: Study, theta: Mapping[str, AnyArray], design: Design, key) -> Run:
    """Runs with random numbers of their own, where the model is random."""
    keys = jax.random.split(key, len(next(iter(theta.values())))) if study.model.stochastic else None
    return evaluate_many(study.model, theta, design, keys)


def values_of(
    study: Study,
    quantities: Mapping[str, Quantity],
    theta: Mapping[str, AnyArray],
    key=None,
    *,
    numbers: np.ndarray | None = None,
) -> xr.DataArray:
    """The quantities of every run, `(run, quantity)`; runs are shared between quantities of the same design.

    Args:
        key: of the runs of a random model.
        numbers: (run, source) in its place, where each source of noise has a number of its own.
    """
    done: dict[int, Run] = {}
    failed: dict[int, np.ndarray] = {}
    columns, events = [], []
    for quantity in quantities.values():
        design = quantity.design
        if id(design) not in done:
            done[id(design)] = (
                evaluated(study, theta, design, key)
                if numbers is None
                else evaluate_by_source(study.model, theta, design, numbers)
            )
            failed[id(design)] = np.zeros(len(next(iter(theta.values()))), bool)
        run = done[id(design)]
        value = np.asarray(jax.jit(jax.vmap(quantity.value))(run.outputs, theta))
        events.append(value.dtype == bool)
        # an output without a value gives no event either: NaN exceeds no threshold
        known = np.ones(len(value), bool)
        for name in quantity.outputs_used(study.model):
            known &= np.isfinite(np.asarray(run.outputs[name]).reshape(len(value), -1)).all(axis=1)
        columns.append(np.where(known, value.astype(float), np.nan))
        failed[id(design)] |= ~known
    values = np.stack(columns, axis=-1)
    # a run may have an output without a value that no quantity uses
    codes = np.concatenate([np.asarray(run.result)[failed[key]] for key, run in done.items()])
    return xr.DataArray(
        values,
        dims=("run", "quantity"),
        coords={"quantity": list(quantities)},
        attrs={"failed": study.model.dynamics.failures(codes), "events": events},
    )
