"""The balance of a study on a coupled model: what is where, what crossed, and whether anything leaks.

Every verb looks at it, with one run of each experiment in the windows of the study's own runs; the group /balance of
the tree keeps what is found. A leak is warned of (`LeakWarning`): nothing in the curves themselves would tell.
"""

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from .. import results
from ..balance import ROUNDING, is_rounding, share
from ..design import Design
from ..errors import LeakWarning
from ..model import Model, evaluate
from ..study import Study
from .balance import account_names
from .coupled import Coupled
from .linearisation import first_stable, predict
from .schedules import described

MEANING = (
    f"A residual up to {ROUNDING:g} of the largest amount in its account is rounding: ten thousand sums in double "
    "precision leave no more. A larger one is a leak, an amount that something makes or loses without saying so."
)
# the part that stands for all of them together
ALL = "all"


class AccountOf(NamedTuple):
    """One quantity in one part, or in all; `name` is how the outputs of a run call it."""

    part: str
    quantity: str
    unit: str

    @property
    def name(self) -> str:
        return self.quantity if self.part == ALL else f"{self.part}_{self.quantity}"

    @property
    def label(self) -> str:
        return f"{self.part}: {self.quantity}"


def with_balance(study: Study, tree: xr.DataTree, *, again: bool = False) -> xr.DataTree:
    """The tree with /balance where the model is a coupled one that counts something; a leak is warned of.

    Args:
        again: also where the tree has it, since there are other parameters to look at now.
    """
    coupled = counting(study.model)
    if coupled is None:
        return tree
    for design in study.experiments.values():
        # a schedule whose results would be garbage is refused before anything is found with it
        study.model.dynamics.plan(study.model, design)
    if not accounts_of(coupled):
        return tree
    at, theta = _parameters(study, tree)
    if not again and "balance" in tree.children and tree["balance"].attrs.get("at") == at:
        return tree
    began = time.monotonic()
    dataset = balance_of_study(study, theta).assign_attrs(at=at)
    if warning := dataset.attrs["warning"]:
        warnings.warn(f"study {study.name!r}: {warning}", LeakWarning, stacklevel=3)
    seconds = time.monotonic() - began
    return results.attach(tree, {"balance": dataset}, verb="coupled", settings={}, seed=0, seconds=seconds)


def counting(model: Model) -> Coupled | None:
    """The coupled system of a model, also where a finer scale closes it; None where it is of another kind."""
    dynamics: Any = model.dynamics
    system = dynamics.model.dynamics if "closure" in dynamics.capabilities else dynamics
    return system if "balance" in system.capabilities else None


def accounts_of(system: Coupled) -> list[AccountOf]:
    """What is counted, by part and in all."""
    counted = [(name, quantity, unit) for name, part in system.parts.items() for quantity, unit in part.units.items()]
    by_part = [AccountOf(*each) for each in counted]
    return [*by_part, *{each.quantity: each._replace(part=ALL) for each in by_part}.values()]


def balance_of_study(study: Study, theta: Mapping[str, Any]) -> xr.Dataset:
    """The balance of one run of each experiment, as /balance describes it but for `at`."""
    model, theta = _own(study.model, theta)
    system: Any = counting(model)
    accounts, exchanges = accounts_of(system), [*system.exchanges]
    runs = {name: _run(model, system, design, theta) for name, design in study.experiments.items()}
    count = max(len(each.times) for each in runs.values())

    def padded(values: np.ndarray) -> np.ndarray:
        rest = [(0, 0)] * (values.ndim - 1) + [(0, count - values.shape[-1])]
        return np.pad(values, rest, constant_values=np.nan)

    def of_accounts(what: str) -> np.ndarray:
        rows = [[each.outputs[f"{what}_{account.name}"] for account in accounts] for each in runs.values()]
        return np.stack([padded(np.stack(row)) for row in rows])

    content, residual, supplied = (of_accounts(what) for what in ("content", "residual", "supplied"))
    crossed = np.array([[each.outputs[f"crossed_{name}"][-1] for name in exchanges] for each in runs.values()])
    ends = np.array([len(each.times) - 1 for each in runs.values()])
    last = np.take_along_axis(supplied, ends[:, None, None], axis=2)[..., 0]
    size = _sizes(accounts, system, runs, content, supplied)
    largest = np.nanmax(np.where(np.isfinite(residual), np.abs(residual), -1.0), axis=2)
    largest = np.where(largest < 0, np.nan, largest)
    closed = np.asarray(is_rounding(largest, size))
    reasons, advice = [each.reason for each in runs.values()], [each.advice for each in runs.values()]
    leak = ~closed & np.isfinite(largest)
    over_time = ("experiment", "account", "point")
    return xr.Dataset(
        {
            "content": (over_time, content),
            "residual": (over_time, residual),
            "supplied": (over_time[:2], last),
            "received": (over_time[:2], _received(accounts, system, crossed)),
            "size": (over_time[:2], size),
            "imbalance": (over_time[:2], np.asarray(share(largest, size))),
            "leak": (over_time[:2], leak),
            "crossed": (("experiment", "exchange"), crossed),
            "reason": ("experiment", reasons),
            "stable": ("experiment", [each.stable for each in advice]),
            "advice": ("experiment", [each.sentence for each in advice]),
        },
        coords={
            "experiment": [*runs],
            "account": [each.label for each in accounts],
            "part": ("account", [each.part for each in accounts]),
            "quantity": ("account", [each.quantity for each in accounts]),
            "unit": ("account", [each.unit for each in accounts]),
            "exchange": exchanges,
            "moves": ("exchange", [each.quantity for each in system.exchanges.values()]),
            "source": ("exchange", [each.source.part for each in system.exchanges.values()]),
            "target": ("exchange", [each.target.part for each in system.exchanges.values()]),
            "time": (("experiment", "point"), np.stack([padded(each.times) for each in runs.values()])),
        },
        attrs={
            "schedule": described(system.schedule),
            "rounding": ROUNDING,
            "meaning": MEANING,
            "parts": json.dumps([*system.parts]),
            "warning": _warning([*runs], accounts, leak, largest, size),
        },
    )


def _own(model: Model, theta: Mapping[str, Any]) -> tuple[Model, Mapping[str, Any]]:
    """The model of the coupled system itself, and its parameters, where a finer scale gives them."""
    dynamics: Any = model.dynamics
    if "closure" not in dynamics.capabilities:
        return model, theta
    values, _ = dynamics.coarse(dict(theta), jax.random.key(0))
    return dynamics.model, {name: values[name] for name in dynamics.model.space.free}


class _Advice(NamedTuple):
    stable: bool
    sentence: str


class _Ran(NamedTuple):
    times: np.ndarray
    outputs: dict[str, np.ndarray]
    reason: str
    advice: _Advice


def _run(model: Model, system: Coupled, design: Design, theta: Mapping[str, Any]) -> _Ran:
    """One experiment in its own windows, from the start on, with the accounts as outputs."""
    start = float(design.start)
    units = dict.fromkeys(account_names(system.parts, system.exchanges), "")
    more: dict[str, Any] = {"noise": {}, "dims": {}, "coords": {}, "increments": (), "columns": {}}
    accounting = replace(model, observe=None, units=units, **more)
    times = np.asarray(design.times, float)
    # a window from the start to itself changes nothing
    from_start = design if times.size and times[0] == start else design.at(np.concatenate([[start], times]))
    key = jax.random.key(0) if model.stochastic else None
    run = evaluate(accounting, theta, from_start, key)
    code = int(run.result)
    reason = system.sentence(code) if code else ""
    outputs = {name: np.asarray(values) for name, values in run.outputs.items()}
    return _Ran(np.asarray(from_start.times), outputs, reason, _advised(model, system, design, theta))


def _advised(model: Model, system: Coupled, design: Design, theta: Mapping[str, Any]) -> _Advice:
    """What is predicted of the schedule, and which one to take where it is not stable."""
    points = system.points(model, design, theta)
    found = predict(system, system.schedule, *points)
    if found.stable or not found.known:
        return _Advice(found.stable, found.sentence)
    other = first_stable(system, system.schedules(points[0], points[1][0]), *points)
    return _Advice(False, f"{found.sentence}; {f'take {other}' if other else 'take a shorter step'}")


def _sizes(accounts, system: Coupled, runs: Mapping[str, _Ran], content, supplied) -> np.ndarray:
    """Largest amount `(experiment, account)` among contents, amounts made and amounts that crossed."""
    size = np.nanmax(np.maximum(np.abs(content), np.abs(supplied)), axis=2, initial=0.0)
    for row, run in enumerate(runs.values()):
        for column, account in enumerate(accounts):
            passed = [
                np.nanmax(np.abs(run.outputs[f"crossed_{name}"]), initial=0.0)
                for name, each in system.exchanges.items()
                if each.quantity == account.quantity and account.part in (*each.parts, ALL)
            ]
            size[row, column] = max([size[row, column], *passed])
    return size


def _received(accounts, system: Coupled, crossed: np.ndarray) -> np.ndarray:
    """Net amounts `(experiment, account)` through exchanges; of all parts together none is counted."""
    signs = np.array(
        [
            [
                each.sign(account.part) * (each.quantity == account.quantity) if account.part in each.parts else 0
                for each in system.exchanges.values()
            ]
            for account in accounts
        ]
    ).reshape(len(accounts), len(system.exchanges))
    return crossed @ signs.T


def _parameters(study: Study, tree: xr.DataTree) -> tuple[str, dict[str, Any]]:
    """The best that is known of them, and what that is; what varies between units is at its prior medians."""
    space = study.model.space
    theta: dict[str, Any] = dict(space.nominal())
    if "posterior" in tree.children:
        posterior = tree["posterior"].to_dataset()
        known = {name: float(np.median(posterior[name])) for name in space.epistemic if name in posterior}
        return "posterior medians", space.complete(theta | known)
    if "fit" in tree.children:
        values = tree["fit"].to_dataset()["value"]
        known = {str(name): float(values.sel(parameter=name)) for name in values["parameter"].values}
        return "best fit", space.complete(theta | {n: v for n, v in known.items() if n in space.epistemic})
    return "prior medians", theta


def _warning(experiments, accounts, leak, largest, size) -> str:
    """The worst leak, and how many others there are."""
    if not np.any(leak):
        return ""
    shares = np.where(leak, np.asarray(share(largest, size)), -1.0)
    row, column = np.unravel_index(int(np.argmax(shares)), shares.shape)
    account, others = accounts[column], int(np.sum(leak)) - 1
    where = "all parts together" if account.part == ALL else f"the part {account.part!r}"
    unit = f" {account.unit}" if account.unit else ""
    return (
        f"{account.quantity} leaks in {where}: {largest[row, column]:.3g}{unit}, {shares[row, column]:.2g} of the "
        f"largest amount, is made or lost without a declared source or exchange (experiment {experiments[row]!r}"
        + (f", and {others} more account{'s' * (others > 1)})." if others else ").")
    )
